//! A line to a broker that can be cut: then nothing passes, nobody is told, and whoever calls is not answered.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The line, at a port of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct Cable {
    port: u16,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// To what listens at `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let cut = watch::Sender::new(false);
        let state = cut.subscribe();
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(carry(stream, target, state.clone()));
            }
        });
        Self { port, cut, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Ends [`Self::cut`]: what was cut is closed, and new calls pass.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut cut: watch::Receiver<bool>) {
    let passing = async {
        if let Ok(mut far) = TcpStream::connect(target).await {
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }
    };
    tokio::select! {
        biased;
        // The line's own end is the test's.
        _ = cut.wait_for(|is_cut| *is_cut) => {}
        () = passing => return,
    }
    let _ = cut.wait_for(|is_cut| !*is_cut).await;
}
