//! The tables as diesel sees them.

diesel::table! {
    usage.records (user_id, occurred_at, id) {
        id -> BigInt,
        user_id -> Text,
        occurred_at -> Timestamptz,
        recorded_at -> Timestamptz,
        session_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        endpoint -> Nullable<Text>,
        event_type -> Text,
        model_name -> Nullable<Text>,
        provider -> Nullable<Text>,
        tool_name -> Nullable<Text>,
        operation_name -> Nullable<Text>,
        tokens_used -> BigInt,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        credits_charged -> BigInt,
        cost_usd -> BigInt,
        calculation_method -> Text,
        billing_metadata -> Nullable<Jsonb>,
        request_data -> Nullable<Jsonb>,
        response_data -> Nullable<Jsonb>,
    }
}
