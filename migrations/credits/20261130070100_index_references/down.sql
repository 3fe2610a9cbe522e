DROP INDEX credits.grants_reference_of_all;
