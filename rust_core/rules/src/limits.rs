//! Every bound of the rule language, named. A rule that passes them cannot exhaust the stack or the memory.

/// Bounds on what is compiled and evaluated. All are inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one condition.
    pub source_bytes_max: usize,
    /// Nesting of one condition; bounds the recursion of parser, checker, evaluator and destructor.
    pub depth_max: usize,
    /// Nodes of one condition.
    pub nodes_max: usize,
    /// Elements of one list or map literal.
    pub list_len_max: usize,
    /// Bytes of one regular expression.
    pub regex_bytes_max: usize,
    /// Compiled size of one regular expression, bytes.
    pub regex_compiled_bytes_max: usize,
    /// Macros (`all`, `map`, ...) inside each other; each level multiplies the work.
    pub macro_depth_max: usize,
    /// Steps of all macros, comparisons and functions of one evaluation together; beyond it the evaluation is a fault.
    pub macro_steps_max: u32,
    /// Steps that one condition may take at most, as known before it is evaluated. At most `macro_steps_max`: then a
    /// condition that was accepted never runs out of steps.
    pub cost_max: u64,
    /// Steps that all conditions of a set may take together for one order.
    pub set_cost_max: u64,
    /// Bytes of one string or bytes value, or elements of one list, made during an evaluation.
    pub made_len_max: usize,
    /// Rules in a set.
    pub rules_max: usize,
    /// Rules from which on a set has an index; fewer are faster scanned.
    pub index_rules_min: usize,
    /// Bytes of a rule's identifier.
    pub rule_id_bytes_max: usize,
    /// Diagnostics reported for one condition, and conditions' worth of them for one set.
    pub diagnostics_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes_max: 16 * 1024,
            depth_max: 128,
            nodes_max: 10_000,
            list_len_max: 4_096,
            regex_bytes_max: 1_024,
            regex_compiled_bytes_max: 1 << 20,
            macro_depth_max: 4,
            macro_steps_max: 100_000,
            cost_max: 100_000,
            set_cost_max: 10_000_000,
            made_len_max: 1 << 20,
            rules_max: 100_000,
            index_rules_min: 17,
            rule_id_bytes_max: 256,
            diagnostics_max: 100,
        }
    }
}
