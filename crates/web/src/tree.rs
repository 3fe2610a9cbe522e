//! Finds what belongs to a path, segment by segment: the cost does not grow with the number of paths.

use std::str::Split;

/// Paths with `{parameters}`, and what belongs to each.
///
/// A parameter is any one segment that is not empty. Where a name fits too, the name wins.
pub(super) struct Tree<T> {
    names: Vec<(&'static str, Self)>,
    parameter: Option<Box<Self>>,
    item: Option<T>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { names: Vec::new(), parameter: None, item: None }
    }
}

impl<T> Tree<T> {
    /// The item of a path, which may still be absent.
    pub(super) fn entry(&mut self, path: &'static str) -> &mut Option<T> {
        &mut segments(path).fold(self, Self::child).item
    }

    /// The item of the path that a text fits.
    pub(super) fn find(&self, path: &str) -> Option<&T> {
        self.find_below(segments(path))
    }

    fn child(&mut self, segment: &'static str) -> &mut Self {
        if parameter_name(segment).is_some() {
            return self.parameter.get_or_insert_default();
        }
        let place = self.names.iter().position(|(name, _)| *name == segment);
        let place = place.unwrap_or_else(|| {
            self.names.push((segment, Self::default()));
            self.names.len().saturating_sub(1)
        });
        &mut self.names[place].1
    }

    fn find_below(&self, mut segments: Split<'_, char>) -> Option<&T> {
        let Some(segment) = segments.next() else {
            return self.item.as_ref();
        };
        let named = self.names.iter().find(|(name, _)| *name == segment);
        named.and_then(|(_, child)| child.find_below(segments.clone())).or_else(|| {
            let child = self.parameter.as_ref().filter(|_| !segment.is_empty())?;
            child.find_below(segments)
        })
    }
}

/// The text of a parameter in a path that fits `pattern`.
pub(super) fn parameter<'a>(pattern: &str, path: &'a str, name: &str) -> Option<&'a str> {
    let place = segments(pattern).position(|segment| parameter_name(segment) == Some(name))?;
    segments(path).nth(place)
}

fn parameter_name(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Every path begins with a slash, so the first segment is empty.
fn segments(path: &str) -> Split<'_, char> {
    path.split('/')
}

#[cfg(test)]
mod tests {
    use actix_web::dev::{Path, ResourceDef};
    use proptest::prelude::*;

    use super::*;

    const PATHS: [&str; 12] = [
        "/",
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/b/{two}/{three}",
        "/a/{one}",
        "/a/{one}/b",
        "/a/{one}/b/c",
        "/a/{one}/b/{two}",
        "/a/{one}/b/{two}/c",
        "/b.c/{one}",
        "/{one}/{two}/a",
    ];

    /// Path and parameters by the router of the library: the first fit in the order of the texts.
    fn by_library(path: &str) -> Option<(&'static str, Vec<(String, String)>)> {
        PATHS.into_iter().find_map(|pattern| {
            let mut found = Path::new(path);
            let fits = ResourceDef::new(pattern).capture_match_info(&mut found);
            let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
            fits.then(|| (pattern, found.iter().map(owned).collect()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn paths_are_found_as_the_library_finds_them(
            path in r"(/(a|b|c|b\.c|\{one\}|x\||ü|%2F|\n)?){0,6}|[/abx]{0,4}",
        ) {
            let mut tree = Tree::default();
            for pattern in PATHS {
                *tree.entry(pattern) = Some(pattern);
            }
            let found = tree.find(&path).map(|pattern| {
                let names = ["one", "two", "three"];
                let text = |name: &str| Some((name.to_owned(), parameter(pattern, &path, name)?.to_owned()));
                (*pattern, names.into_iter().filter_map(text).collect())
            });
            prop_assert!(PATHS.is_sorted());
            prop_assert_eq!(found, by_library(&path));
        }
    }
}
