CREATE SCHEMA identity;
COMMENT ON SCHEMA identity IS 'Who the users are: profiles, roles, activity';

CREATE TABLE identity.users (
    user_id    text COLLATE "C" CONSTRAINT users_pkey PRIMARY KEY
               CONSTRAINT users_user_id_form CHECK (user_id ~ '^[A-Za-z0-9._@+:|~-]{1,255}$'),
    id         bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT users_id_key UNIQUE,
    email      text,
    name       text,
    role       text NOT NULL DEFAULT 'user' CONSTRAINT users_role_known CHECK (role IN ('user', 'admin')),
    plan       text NOT NULL DEFAULT 'free' CONSTRAINT users_plan_known CHECK (plan IN ('free', 'pro', 'enterprise')),
    is_active  boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT users_updated_after_created CHECK (updated_at >= created_at)
);

-- The "C" collation folds A to Z only, on every server alike; a locale such as Turkish would fold I to a dotless i.
CREATE UNIQUE INDEX users_email_key ON identity.users (lower(email COLLATE "C"));

COMMENT ON TABLE identity.users IS 'One row a user, made by the first sign-up call';
COMMENT ON COLUMN identity.users.user_id IS 'The id the identity provider gave, case-sensitive; all domains key their rows by it';
COMMENT ON COLUMN identity.users.id IS 'The integer that the documented API answers next to the external id';
COMMENT ON COLUMN identity.users.email IS 'As it was given; unique without regard to the case of A to Z; null for users without one';
COMMENT ON COLUMN identity.users.plan IS 'The plan in force; billing sets it';
COMMENT ON COLUMN identity.users.is_active IS 'False: every authenticated request of this user is refused';
