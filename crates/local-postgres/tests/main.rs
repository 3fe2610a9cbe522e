//! Real servers, real kills. One test binary, so that it is linked once.

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod held;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod places;
#[cfg(test)]
mod support;
