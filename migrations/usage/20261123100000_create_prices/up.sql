-- A price is a version: its end is the beginning of the next one of the same provider, model, tier and step, so that two can
-- never overlap, and nothing has to be closed by hand.
CREATE TABLE usage.prices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL CONSTRAINT prices_model CHECK (model <> ''),
    service_tier text COLLATE "C" NOT NULL DEFAULT '',
    min_context bigint NOT NULL DEFAULT 0 CONSTRAINT prices_min_context CHECK (min_context >= 0),
    valid_from timestamptz NOT NULL,
    retired boolean NOT NULL DEFAULT false,
    source text NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT prices_version UNIQUE (provider, model, service_tier, min_context, valid_from)
);

CREATE TABLE usage.price_rates (
    price_id bigint NOT NULL REFERENCES usage.prices,
    token_class text COLLATE "C" NOT NULL,
    charge_pico bigint NOT NULL CONSTRAINT price_rates_charge CHECK (charge_pico >= 0),
    cost_pico bigint NOT NULL CONSTRAINT price_rates_cost CHECK (cost_pico >= 0),
    PRIMARY KEY (price_id, token_class)
);

CREATE TABLE usage.model_aliases (
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL CONSTRAINT model_aliases_model CHECK (model <> ''),
    to_provider text COLLATE "C" NOT NULL,
    to_model text COLLATE "C" NOT NULL CONSTRAINT model_aliases_to_model CHECK (to_model <> ''),
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (provider, model)
);

-- What a process keeps of the tables above is good as long as this row is the one it read along with them.
CREATE TABLE usage.price_book (
    one boolean PRIMARY KEY DEFAULT true CONSTRAINT price_book_one_row CHECK (one),
    version bigint NOT NULL DEFAULT 0,
    stamp uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO usage.price_book DEFAULT VALUES;

-- Changes wait for one another here. The row is locked first and the aliases are read after, each with what was committed by
-- then; so two transactions cannot make a chain together either.
CREATE FUNCTION usage.raise_price_book() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage.price_book SET version = version + 1, stamp = gen_random_uuid();
    IF TG_TABLE_NAME = 'model_aliases' AND EXISTS (
        SELECT FROM usage.model_aliases AS alias
        JOIN usage.model_aliases AS further
          ON (further.provider, further.model) = (alias.to_provider, alias.to_model)) THEN
        RAISE EXCEPTION 'an alias of a model leads to an alias' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER prices_raise_the_book AFTER INSERT ON usage.prices
    FOR EACH STATEMENT EXECUTE FUNCTION usage.raise_price_book();
CREATE TRIGGER price_rates_raise_the_book AFTER INSERT ON usage.price_rates
    FOR EACH STATEMENT EXECUTE FUNCTION usage.raise_price_book();
CREATE TRIGGER model_aliases_raise_the_book AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON usage.model_aliases
    FOR EACH STATEMENT EXECUTE FUNCTION usage.raise_price_book();

-- No privilege is revoked: the foreign key of the rates locks prices FOR KEY SHARE, which needs the right to update.
CREATE FUNCTION usage.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'usage.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER prices_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage.prices
    FOR EACH STATEMENT EXECUTE FUNCTION usage.refuse_change();
CREATE TRIGGER price_rates_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage.price_rates
    FOR EACH STATEMENT EXECUTE FUNCTION usage.refuse_change();

COMMENT ON TABLE usage.prices IS 'Versions of prices. Append-only: a new version ends the one before, and so does the end of a price';
COMMENT ON COLUMN usage.prices.provider IS 'Empty: for records whose provider has no price of its own for the model';
COMMENT ON COLUMN usage.prices.service_tier IS 'Empty for the usual tier';
COMMENT ON COLUMN usage.prices.min_context IS 'Input tokens from which this step applies; the highest step that is reached does';
COMMENT ON COLUMN usage.prices.valid_from IS 'It holds until the next version of the same provider, model, tier and step begins';
COMMENT ON COLUMN usage.prices.retired IS 'From here on there is no price; such a version has no rates';
COMMENT ON COLUMN usage.prices.source IS 'Where the figures are from, for people';
COMMENT ON COLUMN usage.prices.actor IS 'admin, or system for what the service brought along';
COMMENT ON TABLE usage.price_rates IS 'What a unit of a class costs in a version of a price; zero is explicitly free, absent is unknown. Append-only';
COMMENT ON COLUMN usage.price_rates.charge_pico IS 'Pico-credits (10^-12) for each unit, which the user pays';
COMMENT ON COLUMN usage.price_rates.cost_pico IS 'Pico-dollars for each unit, which the provider takes';
COMMENT ON TABLE usage.model_aliases IS 'Other names of models; a name leads to a model, never to another alias';
COMMENT ON COLUMN usage.model_aliases.provider IS 'Empty: for records that name no provider';
COMMENT ON COLUMN usage.model_aliases.source IS 'Where the name is explained, for people';
COMMENT ON TABLE usage.price_book IS 'One row that every change of prices, rates and aliases renews';
COMMENT ON COLUMN usage.price_book.version IS 'Counts the changes';
COMMENT ON COLUMN usage.price_book.stamp IS 'Never the same twice, not even after a rollback or a restored backup, as a count alone could be';
COMMENT ON FUNCTION usage.raise_price_book() IS 'Tells caches that the price book changed, and keeps aliases one step long';
COMMENT ON FUNCTION usage.refuse_change() IS 'Keeps prices append-only';
