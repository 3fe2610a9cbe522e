//! An S3-compatible store for clients in other languages: prints its address, bucket, key and secret, and serves until its input ends.

use std::{
    error::Error,
    io::{Write as _, stdin, stdout},
};

use testkit::{S3_ACCESS_KEY, S3_BUCKET, S3_SECRET_KEY, S3Server};

fn main() -> Result<(), Box<dyn Error>> {
    let server = S3Server::start();
    writeln!(stdout(), "{} {S3_BUCKET} {S3_ACCESS_KEY} {S3_SECRET_KEY}", server.endpoint())?;
    // Until the other side closes it.
    stdin().lines().try_for_each(|line| line.map(drop))?;
    Ok(())
}
