//! The catalogue against its documented text.

use billing::{PlanCode, catalogue, plans};

const DOCUMENTED: &str = concat!(
    r#"{"plans":{"free":{"name":"Free","price_monthly":0.0,"credits":1000,"#,
    r#""features":["basic_ai","limited_requests"],"duration_days":30,"recommended":false},"#,
    r#""pro":{"name":"Pro","price_monthly":20.0,"credits":10000,"#,
    r#""features":["advanced_ai","priority_support","analytics"],"duration_days":30,"recommended":true},"#,
    r#""enterprise":{"name":"Enterprise","price_monthly":100.0,"credits":50000,"#,
    r#""features":["premium_ai","dedicated_support","custom_models","api_access"],"#,
    r#""duration_days":30,"recommended":false}},"currency":"USD","billing_cycle":"monthly"}"#,
);

#[test]
fn catalogue_is_the_documented_text() {
    assert_eq!(serde_json::to_string(&catalogue()).unwrap(), DOCUMENTED);
}

#[test]
fn plans_stand_in_order_and_one_is_recommended() {
    let codes: Vec<PlanCode> = plans().iter().map(|plan| plan.code).collect();
    assert_eq!(codes, [PlanCode::Free, PlanCode::Pro, PlanCode::Enterprise]);
    assert!(plans().is_sorted_by_key(|plan| plan.price_monthly));
    assert_eq!(plans().iter().filter(|plan| plan.recommended).count(), 1);
    assert_eq!(PlanCode::Pro.to_string(), "pro");
    assert_eq!(serde_json::to_string(&PlanCode::Enterprise).unwrap(), "\"enterprise\"");
}
