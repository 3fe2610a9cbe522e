DROP INDEX credits.holds_closed;
