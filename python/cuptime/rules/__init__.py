"""Rules: read from YAML, checked, published as revisions, watched in a folder.

    bytes -> yaml.read_rules -> [RuleSource] -> core compiles -> RuleBook.publish -> storage -> live snapshot

A rule set is checked whole before it is live, every fault is reported at once with file, line and column, and a bad
one never replaces a good one. Whoever judges orders takes one `Snapshot` for a batch, so no batch sees two revisions.
"""
