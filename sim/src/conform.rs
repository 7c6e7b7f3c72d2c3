//! Plays recorded cases of the real daemon, and says where what happens now differs.

pub mod corpus;
