DROP FUNCTION webhooks.receivers_stamp();
DROP TABLE webhooks.receivers_edition;
DROP TABLE webhooks.receivers;
