-- Reads the table while others read and write it.
ALTER TABLE credits.entries VALIDATE CONSTRAINT entries_figures;
