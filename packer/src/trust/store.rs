//! The trust store: a JSON file with the keys that are known for each application, and those that are revoked.

use pspf_core::sign::KeyId;
use serde::{Deserialize, Serialize};

use super::files::Place;
use crate::error::{Error, Kind, Result};

/// The store's file in its directory.
pub const FILE: &str = "trust.json";
/// The version of that file that is written and read.
pub const VERSION: u64 = 1;

/// What one trust store says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    version: u64,
    /// The keys that are known, oldest first.
    #[serde(default)]
    pub keys: Vec<KnownKey>,
    /// The keys that are never accepted again, for any application.
    #[serde(default)]
    pub revoked: Vec<RevokedKey>,
}

/// A key that is known for an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// The application; `None` for any, and for packages that name none.
    pub app_id: Option<String>,
    /// The key: 32 hexadecimal digits.
    pub key_id: String,
    /// What the user calls it.
    #[serde(default)]
    pub label: Option<String>,
    /// How it came here.
    pub learnt: Learnt,
    /// The highest release that was started with this key.
    #[serde(default)]
    pub release: u64,
    /// Seconds since 1970, when it came here.
    pub since: u64,
    /// The key that took its place, by a lineage.
    #[serde(default)]
    pub superseded_by: Option<String>,
}

/// How a key came into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learnt {
    /// The user said so.
    Pinned,
    /// It signed the first package of the application that was started.
    Tofu,
    /// The administrator said so.
    Admin,
    /// A key that was known before vouches for it.
    Lineage,
}

/// A key that is never accepted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedKey {
    /// The key: 32 hexadecimal digits.
    pub key_id: String,
    /// Why, in the user's words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub since: u64,
}

impl Learnt {
    /// The word in the store and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Tofu => "tofu",
            Self::Admin => "admin",
            Self::Lineage => "lineage",
        }
    }
}

impl Store {
    /// Reads the store of a place; empty when there is none. Another version, an unknown key and a key id that is none are
    /// refused: what is not understood cannot be left out of a decision.
    pub fn read(place: &Place) -> Result<Self> {
        let Some(text) = place.read(FILE)? else { return Ok(Self { version: VERSION, ..Self::default() }) };
        let damaged = |what: &str| {
            Error::new(Kind::Configuration, what).file(place.file(FILE)).hint(
                "move it away and name your keys again with packer trust add; packer trust log has what was known",
            )
        };
        let version = serde_json::from_str::<AnyVersion>(&text)
            .map_err(|error| damaged("this is not a trust store").found(error.to_string()).line(error.line()))?;
        if version.version != VERSION {
            return Err(Error::new(
                Kind::Configuration,
                "the trust store is of a version that this packer does not know",
            )
            .file(place.file(FILE))
            .field("version")
            .expected(VERSION.to_string())
            .found(version.version.to_string())
            .hint("use the packer that wrote it, or a newer one"));
        }
        let store: Self = serde_json::from_str(&text)
            .map_err(|error| damaged("this is not a trust store").found(error.to_string()).line(error.line()))?;
        let ids = store.keys.iter().map(|key| &key.key_id).chain(store.revoked.iter().map(|key| &key.key_id));
        match ids.into_iter().find(|id| super::key_id(id).is_none()) {
            Some(id) => Err(damaged("the trust store names a key that is none")
                .expected("32 hexadecimal digits")
                .found(format!("{id:?}"))),
            None => Ok(store),
        }
    }

    /// Changes the store of a place: reads it, lets `change` at it, and replaces it, all under the lock. `change` gives false
    /// when there is nothing to write.
    pub fn update(place: &Place, change: impl FnOnce(&mut Self) -> Result<bool>) -> Result<()> {
        let _lock = place.lock()?;
        let mut store = Self::read(place)?;
        if change(&mut store)? {
            let text = serde_json::to_string_pretty(&store).map_err(|error| {
                Error::new(Kind::Io, "the trust store cannot be written as JSON").found(error.to_string())
            })?;
            place.replace(FILE, &(text + "\n"))?;
        }
        Ok(())
    }

    /// The entry of a key for an application.
    pub fn entry(&mut self, app_id: Option<&str>, key: KeyId) -> Option<&mut KnownKey> {
        let key = key.to_string();
        self.keys.iter_mut().find(|entry| entry.key_id == key && entry.app_id.as_deref() == app_id)
    }
}

/// What all versions have in common.
#[derive(Deserialize)]
struct AnyVersion {
    version: u64,
}
