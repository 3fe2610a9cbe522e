//! A rule that is kept or broken, with the message a newcomer sees.

/// What everyone has to keep, and why.
pub struct Rule {
    /// Short name: `I1`, or a word.
    pub name: &'static str,
    /// The rule in a sentence.
    pub says: &'static str,
    /// What goes wrong without it, or what to do instead.
    pub because: &'static str,
}

impl Rule {
    /// Fails the test unless there are no breaches.
    pub fn is_kept(&self, breaches: &[String]) {
        let lines: String = breaches.iter().map(|breach| format!("\n  - {breach}")).collect();
        assert!(
            breaches.is_empty(),
            "\n{}: {}.\nWhy: {}.\nBroken by:{lines}\n",
            self.name,
            self.says,
            self.because
        );
    }
}

#[test]
#[should_panic(expected = "I0: stones are grey.\nWhy: they look better.\nBroken by:\n  - a red one")]
fn a_broken_rule_tells_its_name_reason_and_places() {
    let rule = Rule { name: "I0", says: "stones are grey", because: "they look better" };
    rule.is_kept(&[]);
    rule.is_kept(&["a red one".to_owned()]);
}
