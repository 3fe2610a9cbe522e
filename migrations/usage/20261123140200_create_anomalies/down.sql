DROP TABLE usage.anomalies;
