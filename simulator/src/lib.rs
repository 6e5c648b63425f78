//! A small country on a seed.
