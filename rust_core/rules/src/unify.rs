//! Finding out types: variables, what they stand for, and when one type will do for another.
//!
//! The rules are those of the CEL language definition: `dyn` agrees with everything, lists and maps are
//! invariant in what they hold, a nullable type agrees with its type and with null.
use crate::schema::Type;

/// What type variables stand for so far.
#[derive(Debug, Default)]
pub(crate) struct Unifier {
    bound: Vec<Option<Type>>,
    /// Variables in the order they were bound, so that a failed try can be undone without copying.
    trail: Vec<u32>,
}

/// A point to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bound: usize,
    trail: usize,
}

impl Unifier {
    /// Remembers what is known now.
    pub(crate) fn mark(&self) -> Mark {
        Mark { bound: self.bound.len(), trail: self.trail.len() }
    }

    /// Forgets everything found out since `mark`.
    pub(crate) fn undo(&mut self, mark: Mark) {
        for number in self.trail.drain(mark.trail.min(self.trail.len())..) {
            if let Some(bound) = self.bound.get_mut(number as usize) {
                *bound = None;
            }
        }
        self.bound.truncate(mark.bound);
    }

    /// A variable that stands for nothing yet.
    pub(crate) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var((self.bound.len() - 1) as u32)
    }

    /// `template` with its numbered variables replaced by fresh ones, the same number by the same variable.
    pub(crate) fn instantiate(&mut self, template: &Type, fresh: &mut Vec<(u32, Type)>) -> Type {
        match template {
            Type::Var(number) => {
                if let Some((_, known)) = fresh.iter().find(|(n, _)| n == number) {
                    return known.clone();
                }
                let new = self.fresh();
                fresh.push((*number, new.clone()));
                new
            }
            Type::List(t) => Type::list(self.instantiate(t, fresh)),
            Type::Map(k, v) => Type::map(self.instantiate(k, fresh), self.instantiate(v, fresh)),
            Type::Nullable(t) => Type::nullable(self.instantiate(t, fresh)),
            Type::Opaque(name, params) => {
                Type::Opaque(name.clone(), params.iter().map(|p| self.instantiate(p, fresh)).collect())
            }
            plain => plain.clone(),
        }
    }

    /// Follows a variable to what it stands for, one step of structure only.
    pub(crate) fn resolve(&self, ty: &Type) -> Type {
        let mut ty = ty;
        while let Type::Var(number) = ty {
            match self.bound.get(*number as usize) {
                Some(Some(next)) => ty = next,
                _ => break,
            }
        }
        ty.clone()
    }

    /// The type with every variable replaced; what was never found out is `dyn`.
    pub(crate) fn settle(&self, ty: &Type) -> Type {
        match self.resolve(ty) {
            Type::Var(_) => Type::Dyn,
            Type::List(t) => Type::list(self.settle(&t)),
            Type::Map(k, v) => Type::map(self.settle(&k), self.settle(&v)),
            Type::Nullable(t) => Type::nullable(self.settle(&t)),
            Type::Opaque(name, params) => Type::Opaque(name, params.iter().map(|p| self.settle(p)).collect()),
            plain => plain,
        }
    }

    /// Whether a value of type `from` will do where `to` is wanted; binds variables, also when it fails.
    pub(crate) fn agree(&mut self, from: &Type, to: &Type) -> bool {
        let (from, to) = (self.resolve(from), self.resolve(to));
        match (&from, &to) {
            (Type::Var(a), Type::Var(b)) if a == b => true,
            (Type::Var(number), other) | (other, Type::Var(number)) => {
                if self.occurs(*number, other) {
                    return false;
                }
                if let Some(bound) = self.bound.get_mut(*number as usize) {
                    *bound = Some(other.clone());
                    self.trail.push(*number);
                }
                true
            }
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Nullable(a), Type::Nullable(b)) => self.agree(a, b),
            (Type::Nullable(_) | Type::Timestamp | Type::Duration | Type::Opaque(..), Type::Null) => true,
            (Type::Null, Type::Nullable(_) | Type::Timestamp | Type::Duration | Type::Opaque(..)) => true,
            (Type::Nullable(inner), other) | (other, Type::Nullable(inner)) => self.agree(inner, other),
            (Type::List(a), Type::List(b)) => self.agree(a, b),
            (Type::Map(a, b), Type::Map(c, d)) => self.agree(a, c) && self.agree(b, d),
            (Type::Opaque(a, xs), Type::Opaque(b, ys)) => {
                a == b && xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.agree(x, y))
            }
            (a, b) => a == b,
        }
    }

    /// As [`Unifier::agree`], leaving no trace when it fails.
    pub(crate) fn try_agree(&mut self, from: &Type, to: &Type) -> bool {
        let before = self.mark();
        let agrees = self.agree(from, to);
        if !agrees {
            self.undo(before);
        }
        agrees
    }

    /// The type of a list or map that holds both; `dyn` when nothing narrower does.
    pub(crate) fn join(&mut self, known: &Type, next: &Type) -> Type {
        let (known, next) = (self.resolve(known), self.resolve(next));
        if !self.try_agree(&known, &next) {
            return Type::Dyn;
        }
        if self.is_wider(&next, &known) {
            next
        } else {
            known
        }
    }

    /// Whether `a` says less than `b`: `dyn` less than all, nullable less than its type.
    fn is_wider(&self, a: &Type, b: &Type) -> bool {
        match (self.resolve(a), self.resolve(b)) {
            (Type::Dyn, _) => true,
            (_, Type::Dyn) => false,
            (Type::Nullable(_), other) => !matches!(other, Type::Nullable(_)),
            (Type::List(a), Type::List(b)) => self.is_wider(&a, &b),
            (Type::Map(a, b), Type::Map(c, d)) => self.is_wider(&a, &c) || self.is_wider(&b, &d),
            (Type::Opaque(_, a), Type::Opaque(_, b)) => a.iter().zip(&b).any(|(x, y)| self.is_wider(x, y)),
            (_, Type::Null) => true,
            _ => false,
        }
    }

    fn occurs(&self, number: u32, ty: &Type) -> bool {
        match self.resolve(ty) {
            Type::Var(other) => other == number,
            Type::List(t) | Type::Nullable(t) => self.occurs(number, &t),
            Type::Map(k, v) => self.occurs(number, &k) || self.occurs(number, &v),
            Type::Opaque(_, params) => params.iter().any(|p| self.occurs(number, p)),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_out_and_forgotten_on_failure() {
        let mut unifier = Unifier::default();
        let t = unifier.fresh();
        assert!(unifier.try_agree(&Type::list(Type::Int), &Type::list(t.clone())));
        assert_eq!(unifier.settle(&t), Type::Int);
        let u = unifier.fresh();
        let pair = Type::map(u.clone(), Type::Int);
        assert!(!unifier.try_agree(&Type::map(Type::String, Type::Bool), &pair));
        assert_eq!(unifier.settle(&u), Type::Dyn);
    }

    #[test]
    fn a_type_cannot_hold_itself() {
        let mut unifier = Unifier::default();
        let t = unifier.fresh();
        assert!(!unifier.try_agree(&t, &Type::list(t.clone())));
    }

    #[test]
    fn null_goes_only_where_it_may() {
        let mut unifier = Unifier::default();
        assert!(unifier.agree(&Type::nullable(Type::Int), &Type::Null));
        assert!(unifier.agree(&Type::nullable(Type::Int), &Type::Int));
        assert!(!unifier.agree(&Type::Int, &Type::Null));
        assert!(!unifier.agree(&Type::Int, &Type::Uint));
        assert_eq!(unifier.join(&Type::Int, &Type::String), Type::Dyn);
    }
}
