//! What every store must do, whichever database it lies on. A case gets a fresh database and a
//! clock that it moves; what has to hold after every case is checked after every case.
//!
//! A further database takes one implementation of [`bench::Database`] and one more module in
//! [`on_every_store`].

/// Makes a test of each case, for each kind of database.
macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let database = crate::store::sqlite::Sqlite::fresh().await;
                    crate::store::bench::Bench::run(Box::new(database), super::$case).await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let database = crate::store::postgres::Postgres::fresh().await;
                    crate::store::bench::Bench::run(Box::new(database), super::$case).await;
                }
            )+
        }
    };
}

mod accepting;
pub mod bench;
mod claiming;
mod clock;
mod ending;
mod fairness;
mod fencing;
mod history;
mod index_writes;
mod leasing;
mod lost_sessions;
mod model;
mod outcomes;
mod payload_cache;
pub mod postgres;
mod recording;
mod repeating;
mod sealing;
mod sequences;
pub mod sqlite;
