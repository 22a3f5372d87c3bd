//! What can be typed after `nightread webhook`.

use clap::Args;

use super::common::{Common, Format};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  NIGHTREAD_WEBHOOK_TOKEN=... nightread webhook --config worker.toml
  curl -H 'Authorization: Bearer TOKEN' -H 'Content-Type: application/json' \\
       -d '{\"blob\": \"incoming/a.png\"}' http://127.0.0.1:8090/events

POST /events takes CloudEvents 1.0 (structured, batched, or in the ce-* headers), Event Grid events and the native form.
It answers 204 when the broker has confirmed, 503 when it has not (send again), 400 for what is no announcement, 413 above
a mebibyte. OPTIONS /events is the CloudEvents handshake; Event Grid's validation event is answered too. The token goes
into the Authorization header, or into the query as access_token. Put a proxy that speaks TLS before it. In Azure use
`nightread relay`, which needs no endpoint at all.
Exit status: 0 stopped, 1 it could not go on, 2 wrong use.")]
pub struct WebhookArgs {
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
