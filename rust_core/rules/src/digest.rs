//! The identity of a rule set: a SHA-256 over everything that can change a decision.
use sha2::{Digest, Sha256};

use crate::schema::Schema;
use crate::sources::{Namespace, RuleSource};

/// Hex digest over the schema and the rules, independent of the order rules were listed in.
///
/// Every field is length-prefixed, so no two different sets can feed the same bytes.
pub(crate) fn of_rules(rules: &[RuleSource], namespaces: &[Namespace], schema: &Schema) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(b"cuptime-rules/2");
    for (name, ty) in schema.iter() {
        field(name.as_bytes());
        field(ty.to_string().as_bytes());
    }
    let mut spaces: Vec<&Namespace> = namespaces.iter().collect();
    spaces.sort_by(|a, b| a.name.cmp(&b.name));
    for space in spaces {
        field(space.name.as_bytes());
        field(&[space.hit_policy as u8]);
        field(&(space.variables.len() as u64).to_le_bytes());
        for variable in &space.variables {
            field(variable.name.as_bytes());
            field(variable.expression.as_bytes());
        }
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
        field(namespaces.get(rule.namespace).map_or(&[][..], |n| n.name.as_bytes()));
        field(&[rule.on_error as u8]);
        field(&(rule.actions.len() as u64).to_le_bytes());
        for action in &rule.actions {
            field(action.kind.as_bytes());
            field(action.value.as_bytes());
        }
    }
    let mut out = String::with_capacity(64);
    for byte in hash.finalize() {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
