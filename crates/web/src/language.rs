//! In which language a caller is answered (HTTP contract 1.7).

/// A language the service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// The tag for `Content-Language`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// The language of highest weight in an `Accept-Language` value among those spoken here, the first of equals.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, default: Self) -> Self {
        let mut best: Option<(Self, f32)> = None;
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(1.0, |text| text.parse::<f32>().unwrap_or(0.0));
            let primary = tag.split(['-', '_']).next().unwrap_or_default();
            let language = match primary.to_ascii_lowercase().as_str() {
                "en" => Self::En,
                "zh" => Self::Zh,
                _ => continue,
            };
            if weight > 0.0 && best.is_none_or(|(_, most)| weight > most) {
                best = Some((language, weight));
            }
        }
        best.map_or(default, |(language, _)| language)
    }
}

/// One sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

impl Text {
    /// The sentence in both languages.
    #[must_use]
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }

    /// The sentence in one language.
    #[must_use]
    pub fn in_language(&self, language: Language) -> &str {
        match language {
            Language::En => &self.en,
            Language::Zh => &self.zh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_decides() {
        for (accept, language) in [
            (None, Language::En),
            (Some("zh"), Language::Zh),
            (Some("zh-CN,zh;q=0.9,en;q=0.8"), Language::Zh),
            (Some("en;q=0.5, zh-TW;q=0.7"), Language::Zh),
            (Some("fr, de"), Language::En),
            (Some("*"), Language::En),
            (Some("zh;q=0"), Language::En),
            (Some("EN-us, zh"), Language::En),
            (Some(";;q=,"), Language::En),
        ] {
            assert_eq!(Language::negotiate(accept, Language::En), language, "{accept:?}");
        }
        assert_eq!(Language::negotiate(Some("fr"), Language::Zh), Language::Zh);
    }
}
