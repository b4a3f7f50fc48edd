//! The identity of a rule set: a SHA-256 over everything that can change a decision.
use sha2::{Digest, Sha256};

use crate::matcher::RuleSource;
use crate::schema::Schema;

/// Hex digest over the schema and the rules, independent of the order rules were listed in.
///
/// Every field is length-prefixed, so no two different sets can feed the same bytes.
pub(crate) fn of_rules(rules: &[RuleSource], schema: &Schema) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(b"cuptime-rules/1");
    for (name, ty) in schema.iter() {
        field(name.as_bytes());
        field(ty.to_string().as_bytes());
    }
    let mut ranked: Vec<&RuleSource> = rules.iter().collect();
    ranked.sort_by(|a, b| (a.priority, &a.id).cmp(&(b.priority, &b.id)));
    for rule in ranked {
        field(rule.id.as_bytes());
        field(rule.name.as_bytes());
        field(&rule.priority.to_le_bytes());
        field(&[u8::from(rule.enabled)]);
        for bound in [rule.valid_from_ms, rule.valid_to_ms] {
            field(&bound.map_or_else(Vec::new, |ms| ms.to_le_bytes().to_vec()));
        }
        field(rule.condition.as_bytes());
        field(rule.action.kind.as_bytes());
        field(rule.action.value.as_bytes());
    }
    let mut out = String::with_capacity(64);
    for byte in hash.finalize() {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
