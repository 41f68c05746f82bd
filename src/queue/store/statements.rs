//! How a statement is made on the database at hand: in a span, and on Postgres again while the connection is being lost.

/// States of a job in the database.
pub(super) const QUEUED: i16 = 0;
pub(super) const DONE: i16 = 2;
pub(super) const DEAD: i16 = 3;

/// Runs the statement of that name in the module of the backend at hand.
macro_rules! on {
    ($store:expr, $function:ident ( $($argument:expr),* )) => {{
        let span = statement_span(stringify!($function));
        match &$store.db {
            Db::Sqlite(db) => sqlite::$function(db, $($argument),*).instrument(span).await,
            Db::Postgres(db) => {
                let call = |pool, _| postgres::$function(pool, $($argument),*);
                db.retrying(call).instrument(span).await.map_err(QueueError::from)
            }
        }
    }};
}

/// The same for the end of a claim, which can meet its own first try as well: `$state` is what that left.
macro_rules! end {
    ($store:expr, $state:expr, $function:ident ( $id:expr, $token:expr $(, $argument:expr)* )) => {{
        let span = statement_span(stringify!($function));
        let rows = match &$store.db {
            Db::Sqlite(db) => sqlite::$function(db, $id, $token $(, $argument)*).instrument(span).await,
            Db::Postgres(db) => {
                let call = |pool: PgPool, again| {
                    let ending = postgres::$function(pool.clone(), $id, $token $(, $argument)*);
                    async move {
                        match ending.await? {
                            0 if again => postgres::is_left(pool, $id, $token, $state).await,
                            rows => Ok(rows),
                        }
                    }
                };
                db.retrying(call).instrument(span).await.map_err(QueueError::from)
            }
        };
        exactly_one(rows?)
    }};
}

/// The same for inserts, which can meet their own first try when they are made again.
macro_rules! insert {
    ($store:expr, $function:ident ( $($argument:expr),* )) => {{
        let span = statement_span(stringify!($function));
        match &$store.db {
            Db::Sqlite(db) => sqlite::$function(db, $($argument),*).instrument(span).await,
            Db::Postgres(db) => {
                let call = |pool: PgPool, again| {
                    let inserting = postgres::$function(pool, $($argument),*);
                    async move {
                        match inserting.await {
                            Err(error) if again && postgres::is_there_already(&error) => Ok(None),
                            result => result,
                        }
                    }
                };
                db.retrying(call).instrument(span).await.map_err(QueueError::from)
            }
        }
    }};
}
