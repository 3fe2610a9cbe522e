//! The fields of a request, each declared once: [`input!`](crate::input) makes of a table the struct, its reader, its JSON
//! schema and its fingerprint.

use std::ops::RangeInclusive;

use kernel::{Credits, Fingerprint, FreeForm, Usd};
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;

use super::{Fields, Source, parser::Parse};
use crate::error::ApiError;

/// The input of a route.
pub trait Input: Sized {
    /// Context of the reader besides the request: `()` for most inputs.
    type Context: ?Sized;

    /// The name of the schema.
    const NAME: &'static str;
    /// The description of the schema.
    const DESCRIPTION: &'static str;

    /// Reads all fields; `None` leaves a fault.
    fn read(fields: &mut Fields, context: &Self::Context) -> Option<Self>;

    /// The declared fields, in their order.
    fn declared(context: &Self::Context) -> Vec<Declared>;

    /// The names of the schemas inside this one, and the schemas.
    fn components(context: &Self::Context) -> Vec<(String, Json)> {
        Self::declared(context).into_iter().flat_map(|field| field.components).collect()
    }

    /// The JSON schema of the body: the fields that may come from it.
    fn schema(context: &Self::Context) -> Json {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in Self::declared(context).into_iter().filter(|field| field.source != Source::Query) {
            if field.is_required {
                required.push(field.name);
            }
            properties.insert(field.name.to_owned(), field.property());
        }
        let mut schema = json!({
            "type": "object", "description": Self::DESCRIPTION.trim_start(), "properties": properties,
        });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        schema
    }
}

impl Fields {
    /// Reads an input.
    ///
    /// # Errors
    /// Like [`Fields::read`].
    pub fn input<T: Input<Context = ()>>(&mut self) -> Result<T, ApiError> {
        self.read(|fields| T::read(fields, &()))
    }
}

/// An input that makes two requests with the same `Idempotency-Key` equal or different.
pub trait Keyed {
    /// The fingerprint with the names and values of the fields that are present, in the order of their declaration. A field
    /// that is added later leaves the fingerprints of requests without it as they are.
    fn fingerprint(&self, fingerprint: Fingerprint) -> Fingerprint;
}

/// Nothing but the path.
impl Keyed for () {
    fn fingerprint(&self, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint
    }
}

/// A declared field.
#[derive(Debug)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// Its source.
    pub source: Source,
    /// True if it is required.
    pub is_required: bool,
    /// Its description.
    pub description: &'static str,
    /// The JSON schema of its values.
    pub schema: Json,
    /// An example of its value; null for none.
    pub example: Json,
    /// The schemas that `schema` refers to, by name.
    pub components: Vec<(String, Json)>,
}

impl Declared {
    /// A field with one parser.
    #[must_use]
    pub fn one<P: Parse>(
        _absent: &Option<P::Output>,
        (name, description): (&'static str, &'static str),
        source: Source,
        is_required: bool,
        parser: &P,
    ) -> [Self; 1] {
        let description = description.trim_start();
        let schema = parser.schema();
        [Self { name, source, is_required, description, schema, example: Json::Null, components: Vec::new() }]
    }

    /// A field of the body with this schema and those that it refers to.
    #[must_use]
    pub fn custom(
        name: &'static str,
        description: &'static str,
        is_required: bool,
        (schema, components): (Json, Vec<(String, Json)>),
    ) -> [Self; 1] {
        let (source, description) = (Source::Body, description.trim_start());
        [Self { name, source, is_required, description, schema, example: Json::Null, components }]
    }

    /// The field with an example of its value.
    #[must_use]
    pub fn example(self, example: Json) -> Self {
        Self { example, ..self }
    }

    /// The field with the value it has if it is absent.
    #[must_use]
    pub fn default(mut self, value: Json) -> Self {
        self.schema["default"] = value;
        self
    }

    /// The schema of the field as a member of the body: one that is optional may be null.
    fn property(self) -> Json {
        let mut schema = self.schema;
        if !self.is_required {
            schema = nullable(schema);
        }
        schema["description"] = self.description.into();
        if !self.example.is_null() {
            schema["example"] = self.example;
        }
        schema
    }
}

fn nullable(mut schema: Json) -> Json {
    // A null among the words of an enumeration is more than some generators of clients understand.
    if schema.get("enum").is_some() {
        return json!({"oneOf": [{"type": "null"}, schema]});
    }
    match schema.get_mut("type") {
        Some(Json::Array(types)) => types.push("null".into()),
        Some(one) => *one = json!([one.take(), "null"]),
        None => return json!({"oneOf": [{"type": "null"}, schema]}),
    }
    schema
}

/// The value of a field without a request.
#[must_use]
pub fn absent<P: Parse>(_parser: &P) -> Option<P::Output> {
    None
}

/// A reference to the schema of another input, and the schemas it brings along.
#[must_use]
pub fn reference<T: Input>(name: &str, context: &T::Context) -> (Json, Vec<(String, Json)>) {
    let mut components = T::components(context);
    components.push((name.to_owned(), T::schema(context)));
    (json!({"$ref": format!("#/components/schemas/{name}")}), components)
}

/// The schema of a list of so many objects, and those it brings along.
#[must_use]
pub fn list_of<T: Input>(
    name: &str,
    context: &T::Context,
    sizes: &RangeInclusive<usize>,
) -> (Json, Vec<(String, Json)>) {
    let (items, components) = reference::<T>(name, context);
    let mut list = json!({"type": "array", "items": items, "maxItems": sizes.end()});
    if *sizes.start() > 0 {
        list["minItems"] = (*sizes.start()).into();
    }
    (list, components)
}

/// A value that is part of a fingerprint, as one word or a sequence that shows where it ends.
pub trait Hashed {
    /// The fingerprint with this value under this name; as it was if the value is absent.
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint;
}

impl<T: Hashed> Hashed for Option<T> {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        match self {
            Some(value) => value.feed(name, fingerprint),
            None => fingerprint,
        }
    }
}

impl Hashed for String {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint.word(name).word(self)
    }
}

impl Hashed for bool {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint.word(name).word(if *self { "true" } else { "false" })
    }
}

impl Hashed for i64 {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint.word(name).number(*self)
    }
}

impl Hashed for u8 {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        i64::from(*self).feed(name, fingerprint)
    }
}

/// In micro-credits.
impl Hashed for Credits {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        self.micro().feed(name, fingerprint)
    }
}

/// In nano-dollars.
impl Hashed for Usd {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        self.nano().feed(name, fingerprint)
    }
}

/// In nanoseconds of the Unix epoch.
impl Hashed for OffsetDateTime {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        fingerprint.word(name).instant(*self)
    }
}

/// An empty object is an absent one.
impl Hashed for FreeForm {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        if self.is_empty() { fingerprint } else { fingerprint.word(name).json(self) }
    }
}

/// An object inside another one.
impl<T: Keyed> Hashed for T {
    fn feed(&self, name: &str, fingerprint: Fingerprint) -> Fingerprint {
        self.fingerprint(fingerprint.word(name).word("{")).word("}")
    }
}

/// The word of a request for a value of a closed set, to be hashed.
pub fn word_of<T: PartialEq + std::fmt::Debug>(choices: &[(&str, T)]) -> impl Fn(T) -> String {
    |value| {
        let word = choices.iter().find(|(_, choice)| *choice == value).map(|(word, _)| *word);
        // One that no request can name differs from all others too.
        word.map_or_else(|| format!("{value:?}"), str::to_owned)
    }
}

/// Declares the input of a route: what its fields are, where they may come from, how each is read, what OpenAPI says of it, and
/// what is hashed with an `Idempotency-Key`. A fact about a field stands here and nowhere else.
///
/// ```text
/// input! {
///     /// Description of the schema.
///     pub keyed struct ConsumeCredits {
///         /// Description of the field.
///         amount: Credits = required(Body, credits_to_move()), example(25.5);
///         /// Fields that may be absent are options.
///         reason: Option<String> = optional(Body, text(0, 255));
///     }
/// }
/// ```
///
/// A field is one of
/// - `required(Source, parser)`, `optional(Source, parser)`, `required_if(condition, Source, parser)`;
/// - `objects(sizes, Input)`, `object(Input, "NameOfSchema", context)`: objects inside the body, with an input of their own;
/// - `flat(Input, context)`: the fields of another input, at the same place;
/// - `custom(|fields| read, is_required, schema and components)` for all else; it reads an `Option<Type>`.
///
/// After it may stand `example(json)`, `default(json)`, `check(|fields| { .. })`, which sees the fields before it as options and
/// may add faults, `unhashed()`, and `hashed(expression)`: what stands for the field in the fingerprint, for types of others.
///
/// With `for context: Type` after its name an input depends on a context. Without `keyed` it has no fingerprint. The order of the
/// fields of a keyed input is part of its fingerprints, which are stored: add new fields, and leave the others where they are.
///
/// `ConsumeCredits` above becomes a struct with these fields, and this reader:
///
/// ```text
/// fn read(fields: &mut Fields, _context: &()) -> Option<Self> {
///     let amount = fields.required(Source::Body, "amount", credits_to_move());
///     let reason = fields.optional(Source::Body, "reason", text(0, 255));
///     Some(Self { amount: amount?, reason })
/// }
/// ```
///
/// so that a `check` stands between two lines of it, and a `?` in one leaves the reader.
#[macro_export]
macro_rules! input {
    ($(#[doc = $about:literal])+ pub keyed struct $Input:ident $(for $cx:ident: $Context:ty)? {
        $($(#[doc = $text:literal])+
        $field:ident: $Type:ty = $need:ident($($spec:tt)*) $(, $option:ident($($argument:tt)*))*;)+
    }) => {
        $crate::input! {
            $(#[doc = $about])+ pub struct $Input $(for $cx: $Context)? {
                $($(#[doc = $text])+ $field: $Type = $need($($spec)*) $(, $option($($argument)*))*;)+
            }
        }

        impl $crate::fields::input::Keyed for $Input {
            fn fingerprint(&self, fingerprint: kernel::Fingerprint) -> kernel::Fingerprint {
                $(let fingerprint = $crate::input!(@hash fingerprint, $field, self.$field, $($option($($argument)*))*);)+
                fingerprint
            }
        }
    };
    ($(#[doc = $about:literal])+ pub struct $Input:ident { $($rest:tt)* }) => {
        $crate::input! { $(#[doc = $about])+ pub struct $Input for _context: () { $($rest)* } }
    };
    ($(#[doc = $about:literal])+ pub struct $Input:ident for $cx:ident: $Context:ty {
        $($(#[doc = $text:literal])+
        $field:ident: $Type:ty = $need:ident($($spec:tt)*) $(, $option:ident($($argument:tt)*))*;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        pub struct $Input {
            $($(#[doc = $text])+ pub $field: $Type,)+
        }

        impl $crate::fields::input::Input for $Input {
            type Context = $Context;

            const NAME: &'static str = stringify!($Input);
            const DESCRIPTION: &'static str = concat!($($about),+);

            fn read(fields: &mut $crate::fields::Fields, $cx: &Self::Context) -> Option<Self> {
                $(
                    let $field = $crate::input!(@read fields, stringify!($field), $need($($spec)*));
                    $($crate::input!(@check fields, $option($($argument)*));)*
                )+
                Some(Self { $($field: $crate::input!(@take $need $field)),+ })
            }

            fn declared($cx: &Self::Context) -> Vec<$crate::fields::input::Declared> {
                let mut all = Vec::new();
                $(
                    $crate::input!(@declare $field, $Type, concat!($($text),+), declared = $need($($spec)*));
                    $(let declared = $crate::input!(@describe declared, $option($($argument)*));)*
                    all.extend(declared);
                )+
                all
            }
        }
    };

    (@read $fields:ident, $name:expr, required($source:ident, $parser:expr)) => {
        $fields.required($crate::fields::Source::$source, $name, $parser)
    };
    (@read $fields:ident, $name:expr, optional($source:ident, $parser:expr)) => {
        $fields.optional($crate::fields::Source::$source, $name, $parser)
    };
    (@read $fields:ident, $name:expr, required_if($condition:expr, $source:ident, $parser:expr)) => {
        if $condition {
            $fields.required($crate::fields::Source::$source, $name, $parser)
        } else {
            $fields.optional($crate::fields::Source::$source, $name, $parser)
        }
    };
    (@read $fields:ident, $name:expr, objects($sizes:expr, $Inner:ty)) => {
        $fields.objects($name, $sizes, |inner| <$Inner as $crate::fields::input::Input>::read(inner, &()))
    };
    (@read $fields:ident, $name:expr, object($Inner:ty, $schema:expr, $context:expr)) => {
        $fields.object($name, |inner| <$Inner as $crate::fields::input::Input>::read(inner, $context))
    };
    (@read $fields:ident, $name:expr, flat($Inner:ty, $context:expr)) => {
        <$Inner as $crate::fields::input::Input>::read($fields, $context)
    };
    (@read $fields:ident, $name:expr, custom(|$inner:ident| $read:expr, $required:expr, $about:expr)) => {{
        let $inner = &mut *$fields;
        $read
    }};

    (@take required $field:ident) => { $field? };
    (@take objects $field:ident) => { $field? };
    (@take object $field:ident) => { $field? };
    (@take flat $field:ident) => { $field? };
    (@take custom $field:ident) => { $field? };
    (@take $need:ident $field:ident) => { $field };

    // Parsers and conditions may refer to the fields before them, which are absent here.
    (@declare $field:ident, $Type:ty, $text:expr, $declared:ident = required($source:ident, $parser:expr)) => {
        let parser = $parser;
        let $field: Option<$Type> = $crate::fields::input::absent(&parser);
        let $declared = $crate::fields::input::Declared::one(
            &$field, (stringify!($field), $text), $crate::fields::Source::$source, true, &parser,
        );
    };
    (@declare $field:ident, $Type:ty, $text:expr, $declared:ident = optional($source:ident, $parser:expr)) => {
        $crate::input!(@declare $field, $Type, $text, $declared = required_if(false, $source, $parser));
    };
    (@declare
        $field:ident, $Type:ty, $text:expr,
        $declared:ident = required_if($condition:expr, $source:ident, $parser:expr)
    ) => {
        let parser = $parser;
        let $field: $Type = $crate::fields::input::absent(&parser);
        let $declared = $crate::fields::input::Declared::one(
            &$field, (stringify!($field), $text), $crate::fields::Source::$source, $condition, &parser,
        );
    };
    (@declare $field:ident, $Type:ty, $text:expr, $declared:ident = $need:ident($($spec:tt)*)) => {
        let $declared = $crate::input!(@declared stringify!($field), $text, $need($($spec)*));
    };
    (@declared $name:expr, $text:expr, flat($Inner:ty, $context:expr)) => {
        <$Inner as $crate::fields::input::Input>::declared($context)
    };
    (@declared $name:expr, $text:expr, objects($sizes:expr, $Inner:ty)) => {
        $crate::fields::input::Declared::custom(
            $name, $text, true,
            $crate::fields::input::list_of::<$Inner>(<$Inner as $crate::fields::input::Input>::NAME, &(), &$sizes),
        )
    };
    (@declared $name:expr, $text:expr, object($Inner:ty, $schema:expr, $context:expr)) => {
        $crate::fields::input::Declared::custom(
            $name, $text, false, $crate::fields::input::reference::<$Inner>($schema, $context),
        )
    };
    (@declared $name:expr, $text:expr, custom(|$inner:ident| $read:expr, $required:expr, $about:expr)) => {
        $crate::fields::input::Declared::custom($name, $text, $required, $about)
    };

    (@check $fields:ident, check(|$inner:ident| $check:block)) => {{
        let $inner = &mut *$fields;
        $check
    }};
    (@check $fields:ident, $option:ident($($argument:tt)*)) => {};

    (@describe $declared:ident, example($($example:tt)*)) => {
        $declared.map(|field| field.example(serde_json::json!($($example)*)))
    };
    (@describe $declared:ident, default($($default:tt)*)) => {
        $declared.map(|field| field.default(serde_json::json!($($default)*)))
    };
    (@describe $declared:ident, $option:ident($($argument:tt)*)) => { $declared };

    (@hash $fingerprint:ident, $field:ident, $value:expr,) => {
        $crate::fields::input::Hashed::feed(&$value, stringify!($field), $fingerprint)
    };
    (@hash $fingerprint:ident, $field:ident, $value:expr, unhashed() $($rest:tt)*) => { $fingerprint };
    (@hash $fingerprint:ident, $field:ident, $value:expr, hashed($hashed:expr) $($rest:tt)*) => {{
        let $field = &$value;
        $crate::fields::input::Hashed::feed(&$hashed, stringify!($field), $fingerprint)
    }};
    (@hash $fingerprint:ident, $field:ident, $value:expr, $option:ident($($argument:tt)*) $($rest:tt)*) => {
        $crate::input!(@hash $fingerprint, $field, $value, $($rest)*)
    };
}
