DROP TABLE identity.mail_links;
DROP TABLE identity.mails;
