//! The executor, against AWS's interfaces and against a twin that fails as it is told to.

mod bench;
mod deaf;
mod http;
mod mortal;
mod moto;
mod orders;
mod own;
mod role;
mod twin;
