//! The account of this process: the one it was started as, or the one that RUN_AS names, which root changes to.
//!
//! To be called while the process has one thread and no open file, so that nothing keeps the rights of root.

use nix::{
    errno::Errno,
    unistd::{Gid, Uid, User, getegid, geteuid},
};

use crate::config::RunAs;

/// Why the account cannot be that of RUN_AS.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error("RUN_AS: there is no account {0} on this machine")]
    Unknown(String),
    #[error("RUN_AS: the account {0} is not known on this machine, so its group has to be named: uid:gid")]
    NoGroup(Uid),
    #[error("RUN_AS: {0} is root; name an account without its rights, or leave RUN_AS unset")]
    IsRoot(RunAs),
    #[error(
        "RUN_AS: this process runs as {present} and only root can change to {wanted}: start it as root or as {wanted}, or leave \
         RUN_AS unset"
    )]
    NotRoot { present: String, wanted: RunAs },
    #[error("RUN_AS: the accounts of this machine cannot be read")]
    Lookup(#[source] Errno),
    #[error("RUN_AS: the account cannot be changed to {wanted}")]
    Change {
        wanted: RunAs,
        #[source]
        source: Errno,
    },
    #[error("RUN_AS: root could be had back after the change to {0}")]
    Reversible(RunAs),
}

/// Log line about the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// An ordinary one, from the start.
    Ordinary,
    /// Root.
    Root,
    /// This one, after a start as root.
    ChangedTo(String),
}

impl Account {
    /// Says in the log what an operator should know about it.
    pub(super) fn log(&self) {
        match self {
            Self::Ordinary => {}
            Self::Root => tracing::warn!(
                "running as root, which this service does not need: set RUN_AS to an account that owns DATA_DIR"
            ),
            Self::ChangedTo(account) => tracing::info!("started as root, running as {account} (RUN_AS)"),
        }
    }
}

/// Changes to the account of RUN_AS, if one is named.
///
/// # Errors
/// [`AccountError`]; the process must not go on then.
pub(super) fn change(run_as: Option<&RunAs>) -> Result<Account, AccountError> {
    let present = geteuid();
    let Some(wanted) = run_as else {
        return Ok(if present.is_root() { Account::Root } else { Account::Ordinary });
    };
    let target = Target::find(wanted)?;
    if target.uid.is_root() {
        return Err(AccountError::IsRoot(wanted.clone()));
    }
    if !present.is_root() {
        let is_present = target.uid == present && target.gid == getegid();
        return if is_present {
            Ok(Account::Ordinary)
        } else {
            Err(AccountError::NotRoot { present: words(present), wanted: wanted.clone() })
        };
    }
    target.become_it().map_err(|source| AccountError::Change { wanted: wanted.clone(), source })?;
    // The change took the saved ids too, so this must fail.
    if nix::unistd::seteuid(Uid::from_raw(0)).is_ok() || geteuid() != target.uid || getegid() != target.gid {
        return Err(AccountError::Reversible(wanted.clone()));
    }
    Ok(Account::ChangedTo(words(target.uid)))
}

/// The ids of an account.
struct Target {
    /// For its further groups; none if it has no name or its group was chosen.
    #[cfg_attr(target_vendor = "apple", expect(dead_code, reason = "groups are not changed there"))]
    name: Option<String>,
    uid: Uid,
    gid: Gid,
}

impl Target {
    fn find(wanted: &RunAs) -> Result<Self, AccountError> {
        let of_user = |user: User| Self { name: Some(user.name), uid: user.uid, gid: user.gid };
        match wanted {
            RunAs::Name(name) => User::from_name(name)
                .map_err(AccountError::Lookup)?
                .map(of_user)
                .ok_or_else(|| AccountError::Unknown(name.clone())),
            RunAs::Ids { uid, gid: Some(gid) } => {
                Ok(Self { name: None, uid: Uid::from_raw(*uid), gid: Gid::from_raw(*gid) })
            }
            RunAs::Ids { uid, gid: None } => User::from_uid(Uid::from_raw(*uid))
                .map_err(AccountError::Lookup)?
                .map(of_user)
                .ok_or(AccountError::NoGroup(Uid::from_raw(*uid))),
        }
    }

    /// Groups, group, user, in this order: each step needs rights that the last one takes.
    fn become_it(&self) -> nix::Result<()> {
        self.set_groups()?;
        nix::unistd::setgid(self.gid)?;
        nix::unistd::setuid(self.uid)
    }

    #[cfg(not(target_vendor = "apple"))]
    fn set_groups(&self) -> nix::Result<()> {
        match &self.name {
            Some(name) => {
                let name = std::ffi::CString::new(name.as_str()).map_err(|_| Errno::EINVAL)?;
                nix::unistd::initgroups(&name, self.gid)
            }
            None => nix::unistd::setgroups(&[self.gid]),
        }
    }

    /// Apple's systems ask a directory service for groups and have no such call that can be relied on.
    #[cfg(target_vendor = "apple")]
    fn set_groups(&self) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }
}

fn words(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Only refusals: a change cannot be undone, so it is tried on a process of its own (tests/process/accounts.rs).

    #[test]
    fn unknown_accounts_and_root_are_refused() {
        let refused = |wanted| change(Some(&wanted)).unwrap_err().to_string();
        let nobody_has_it = RunAs::Name("no-such-account".to_owned());
        assert_eq!(refused(nobody_has_it), "RUN_AS: there is no account no-such-account on this machine");
        let nameless = |gid| RunAs::Ids { uid: 3_999_999_999, gid };
        assert!(refused(nameless(None)).contains("uid:gid"));
        for root in [
            RunAs::Name("root".to_owned()),
            RunAs::Ids { uid: 0, gid: None },
            RunAs::Ids { uid: 0, gid: Some(1) },
        ] {
            assert!(refused(root).contains("is root"));
        }
        if !geteuid().is_root() {
            assert!(refused(nameless(Some(1))).contains("only root can change"));
        }
    }

    #[test]
    fn the_present_account_is_no_change() {
        if geteuid().is_root() {
            assert_eq!(change(None).unwrap(), Account::Root);
            return;
        }
        let present = RunAs::Ids { uid: geteuid().as_raw(), gid: Some(getegid().as_raw()) };
        for run_as in [None, Some(&present)] {
            assert_eq!(change(run_as).unwrap(), Account::Ordinary);
        }
    }
}
