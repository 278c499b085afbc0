//! What a request with a token costs.
