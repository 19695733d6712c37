//! PostgreSQL as the engine of several replicas.
//!
//! The blocking client of the `tokio-postgres` project: the store has a thread of its own anyway. Writers queue on one
//! row lock that ends with their transaction; readers see one snapshot and wait for nobody. Connections are
//! not encrypted: the server is reached by a Unix socket or a trusted network, and `sslmode=require` is refused.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use postgres::error::SqlState;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};

use crate::engine::{Access, Engine};
use crate::error::{EngineFailure, StateError};
use crate::sql::{Cell, Row, Sql, Value};
use crate::tables::schema::{self, Dialect};
use crate::timestamp::Timestamp;

const DIALECT: Dialect = Dialect { number: "BIGINT", text: "TEXT COLLATE \"C\"" };

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that is silent for as long is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bounds on what may wait or run, and the durability that acknowledging rests on.
const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '30s'; SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'";

/// All writers of one schema pass through this row.
const WRITERS_LOCK: &str = "SELECT 1 FROM streams WHERE name = 'journal' FOR UPDATE";

/// A connection, absent after it broke, and how to make it.
pub(crate) struct PostgresEngine {
    client: Option<Connected>,
    config: Config,
    schema: String,
}

struct Connected {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl PostgresEngine {
    /// Connects, and makes or migrates the tables in `schema`.
    pub(crate) fn open(connection: &str, schema: &str) -> Result<Self, StateError> {
        let usable = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
        if schema.is_empty() || schema.len() > 63 || !schema.chars().all(usable) {
            return Err(StateError::invalid("schema", "expected 1 to 63 of `a` to `z`, `0` to `9` and `_`"));
        }
        // The error would repeat the text, and the text may hold a password.
        let mut config: Config = connection
            .parse()
            .map_err(|_| StateError::invalid("connection", "expected a PostgreSQL connection string"))?;
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(SILENCE_TIMEOUT).keepalives_idle(SILENCE_TIMEOUT);
        config.application_name("hanok");
        let mut engine = Self { client: None, config, schema: schema.to_owned() };
        engine.connect()?;
        engine.prepare_tables()?;
        Ok(engine)
    }

    fn connect(&mut self) -> Result<(), StateError> {
        let mut client = self.config.connect(NoTls).map_err(|error| failure(&error))?;
        let schema = &self.schema;
        client.batch_execute(&format!("{SESSION}; SET search_path = {schema}")).map_err(|error| failure(&error))?;
        for (setting, expected) in [("fsync", "on"), ("full_page_writes", "on"), ("server_encoding", "UTF8")] {
            let row = client.query_one(&format!("SHOW {setting}"), &[]).map_err(|error| failure(&error))?;
            let found: &str = row.get(0);
            if found != expected {
                let detail = format!("{setting}: expected {expected}, found {found}");
                return Err(StateError::Engine(EngineFailure::UnsafeServer, detail.into()));
            }
        }
        self.client = Some(Connected { client, statements: HashMap::new() });
        Ok(())
    }

    fn prepare_tables(&mut self) -> Result<(), StateError> {
        let schema = self.schema.clone();
        self.batch("BEGIN")?;
        let migrated = self
            .batch("SELECT pg_advisory_xact_lock(hashtext('hanok-state layouts'))")
            .and_then(|()| self.batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")))
            .and_then(|()| schema::migrate(self, DIALECT))
            .and_then(|()| self.commit());
        if migrated.is_err() {
            self.rollback();
        }
        migrated
    }

    fn connected(&mut self) -> Result<&mut Connected, StateError> {
        self.client
            .as_mut()
            .ok_or_else(|| StateError::Engine(EngineFailure::Unreachable, "the connection is closed".into()))
    }

    fn batch(&mut self, statements: &str) -> Result<(), StateError> {
        let done = self.connected()?.client.batch_execute(statements);
        done.map_err(|error| self.failed(&error))
    }

    /// Notes that the connection is gone.
    fn failed(&mut self, error: &postgres::Error) -> StateError {
        if self.client.as_ref().is_some_and(|connected| connected.client.is_closed()) {
            self.client = None;
        }
        failure(error)
    }
}

impl Engine for PostgresEngine {
    fn begin(&mut self, access: Access) -> Result<(), StateError> {
        if self.client.as_ref().is_none_or(|connected| connected.client.is_closed()) {
            self.connect()?;
        }
        let begun = match access {
            Access::Read => self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            // Each statement behind the lock sees what the writer before has committed.
            Access::Write => self.batch(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {WRITERS_LOCK}")),
        };
        if begun.is_err() {
            self.rollback();
        }
        begun
    }

    /// The server's own refusal is a rollback; anything else, above all a lost connection, leaves the outcome open.
    fn commit(&mut self) -> Result<(), StateError> {
        let connected = self.connected()?;
        let Err(error) = connected.client.batch_execute("COMMIT") else {
            return Ok(());
        };
        let interrupted = |code: &SqlState| ["08", "57"].iter().any(|class| code.code().starts_with(class));
        if !connected.client.is_closed() && error.code().is_some_and(|code| !interrupted(code)) {
            return Err(failure(&error));
        }
        self.client = None;
        Err(StateError::Engine(EngineFailure::OutcomeUnknown, error.to_string().into()))
    }

    fn rollback(&mut self) {
        // A connection that cannot even do this is given up; the server rolls back for it.
        if self.client.is_some() && self.batch("ROLLBACK").is_err() {
            self.client = None;
        }
    }

    /// The server checks its pages by itself; the store's own invariants are compared by the caller.
    fn verify(&mut self) -> Result<(), StateError> {
        Ok(())
    }
}

impl Sql for PostgresEngine {
    fn execute(&mut self, statement: &str, values: &[Value<'_>]) -> Result<u64, StateError> {
        let done =
            self.connected()?.run(statement, values, |client, prepared, values| client.execute(prepared, values));
        done.map_err(|error| self.failed(&error))
    }

    fn query(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>, StateError> {
        let rows = self.connected()?.run(statement, values, |client, prepared, values| {
            client.query(prepared, values)?.iter().map(row).collect()
        });
        rows.map_err(|error| self.failed(&error))
    }

    fn lease_clock(&mut self, _caller: Timestamp) -> Result<Timestamp, StateError> {
        let statement = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
        let rows = self.query(statement, &[])?;
        rows.first().ok_or_else(|| StateError::corrupt("the server tells no time"))?.time(0)
    }
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connected {
    /// Runs a statement that is prepared once per connection.
    fn run<T>(
        &mut self,
        statement: &str,
        values: &[Value<'_>],
        run: impl FnOnce(&mut Client, &Statement, Parameters<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        if !self.statements.contains_key(statement) {
            let prepared = self.client.prepare(statement)?;
            self.statements.insert(statement.to_owned(), prepared);
        }
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        run(&mut self.client, &self.statements[statement], &parameters)
    }
}

fn row(row: &postgres::Row) -> Result<Row, postgres::Error> {
    let cell = |(index, column): (usize, &postgres::Column)| {
        Ok(match *column.type_() {
            Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map(|value| Cell::Integer(value.into())),
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map(|value| Cell::Integer(value.into())),
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map(Cell::Integer),
            Type::FLOAT8 => row.try_get::<_, Option<f64>>(index)?.map(Cell::Real),
            _ => row.try_get::<_, Option<String>>(index)?.map(Cell::Text),
        }
        .unwrap_or(Cell::Null))
    };
    Ok(Row(row.columns().iter().enumerate().map(cell).collect::<Result<_, postgres::Error>>()?))
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql(kind, out),
            Self::Real(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::FLOAT8, Type::TEXT].contains(kind)
    }

    to_sql_checked!();
}

fn failure(error: &postgres::Error) -> StateError {
    let failure = match error.code() {
        Some(&SqlState::DISK_FULL) => EngineFailure::DiskFull,
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => EngineFailure::ReadOnly,
        Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => EngineFailure::Corrupt,
        Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED) => EngineFailure::Unreachable,
        // Classes 08 connection, 40 rolled back, 53 resources, 57 operator intervention.
        Some(code) if ["08", "40", "53", "57"].contains(&code.code().get(..2).unwrap_or_default()) => {
            EngineFailure::Unreachable
        }
        Some(_) => EngineFailure::Internal,
        None => EngineFailure::Unreachable,
    };
    // A server's message is about our statements, not about our values.
    let detail = error.as_db_error().map_or_else(|| error.to_string(), |server| server.to_string());
    StateError::Engine(failure, detail.into())
}
