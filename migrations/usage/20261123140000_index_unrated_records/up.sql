-- Which models are used without a price: a question about few records among very many. A model that has a price, and an event
-- whose charge was stated, cost nothing here.
CREATE INDEX records_unrated ON usage.records (model_name, occurred_at)
    WHERE calculation_method = 'unrated' AND tokens_used > 0;
