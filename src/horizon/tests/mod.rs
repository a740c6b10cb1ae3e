//! A model checker for the rules of the horizon: a small world of replicas that runs the very functions of this module, an
//! exhaustive search over its shortest histories, and long random ones. Every rule is left out once, and each time the
//! search has to find what comes of it: a deleted key that returns, or replicas that never agree again.

mod control;
mod search;
mod table;
mod world;
