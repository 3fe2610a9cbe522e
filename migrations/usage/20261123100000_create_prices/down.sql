DROP TABLE usage.price_book, usage.model_aliases, usage.price_rates, usage.prices;
DROP FUNCTION usage.refuse_change();
DROP FUNCTION usage.raise_price_book();
