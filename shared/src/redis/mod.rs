//! The connection to Redis, which holds nothing that may not be lost.

pub mod keys;

use std::time::Duration;

use redis::{
    Client, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};

use crate::{config, queue};
use keys::Keys;

/// A connection that heals itself, and the names of the keys behind it.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    /// Builds the names of keys.
    pub keys: Keys,
}

impl Redis {
    /// Prepares the connection; it is made when first used, so that a process can start while Redis is away.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn open(settings: &config::Redis) -> Result<Self, RedisError> {
        // `rediss:` takes the process's provider of TLS, of which two are linked in. One that is there already does as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = settings.url.expose().as_str().into_connection_info()?;
        // Commands are small, and many share a connection: none is held back until another's answer is there.
        let client = Client::open(server.set_tcp_settings(TcpSettings::default().set_nodelay(true)))?;
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(500)))
            .set_response_timeout(Some(Duration::from_millis(500)))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), options)?;
        Ok(Self {
            client,
            connection,
            keys: Keys::new(&settings.key_prefix),
        })
    }

    /// Where the queue's own connections go.
    #[must_use]
    pub fn queue_settings(&self) -> queue::Settings {
        queue::Settings {
            client: self.client.clone(),
            prefix: self.keys.prefix().to_owned(),
        }
    }

    /// The shared connection: for commands that answer at once.
    #[must_use]
    pub fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// A connection of its own for commands that block for up to `block`.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn blocking_connection(&self, block: Duration) -> Result<ConnectionManager, RedisError> {
        let options = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(500)))
            .set_response_timeout(Some(block + Duration::from_secs(1)))
            .set_number_of_retries(1);
        ConnectionManager::new_lazy_with_config(self.client.clone(), options)
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), RedisError> {
        redis::cmd("PING").exec_async(&mut self.connection()).await
    }
}
