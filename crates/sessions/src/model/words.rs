//! The closed vocabularies: status of a session, role and status of a message.

use std::{fmt, str::FromStr};

/// The text is not one of the words that are allowed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of {}", .allowed.join(", "))]
pub struct UnknownWord {
    /// The words that are.
    pub allowed: &'static [&'static str],
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the HTTP contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The words of [`Self::ALL`].
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word on the wire and in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            /// Reads the exact word; case matters.
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { allowed: Self::WORDS }),
                }
            }
        }
    };
}

words! {
    /// Status of a session (HTTP contract 5).
    Status {
        /// In use.
        Active = "active",
        /// Has reached its aim; still counts as active.
        Completed = "completed",
        /// Ended by a caller.
        Ended = "ended",
        /// Put away by a caller.
        Archived = "archived",
        /// Past its `expires_at`, or set so by a caller.
        Expired = "expired",
    }
}

words! {
    /// Speaker of a message (HTTP contract 5).
    Role {
        /// The human.
        User = "user",
        /// The model.
        Assistant = "assistant",
        /// The instructions to the model.
        System = "system",
        /// The answer of a tool that the model called.
        Tool = "tool",
    }
}

words! {
    /// Progress of a message (HTTP contract 5 and 9.1).
    MessageStatus {
        /// Whole.
        Completed = "completed",
        /// Its reply could not be had.
        Failed = "failed",
        /// Still being written.
        InProgress = "in_progress",
        /// Broke off; what was produced is there.
        Incomplete = "incomplete",
        /// Stopped by a caller; what was produced is there.
        Cancelled = "cancelled",
    }
}

impl Status {
    /// Returns true if a session with this status counts as active: `active` and `completed` do (HTTP contract 5).
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Completed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_refused() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(*role));
        }
        for text in ["", "Active", "active ", "closed"] {
            assert_eq!(text.parse::<Status>(), Err(UnknownWord { allowed: Status::WORDS }));
        }
        let refused = "robot".parse::<Role>().unwrap_err();
        assert_eq!(refused.to_string(), "not one of user, assistant, system, tool");
    }
}
