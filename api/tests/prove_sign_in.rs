//! Sign-in throughput against what the machine can hash.
