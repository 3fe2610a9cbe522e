DROP TABLE credits.global_references;
