/** PgBouncer's names that we do not support yet, so that an operator learns which it is: not yet, or a typing error. */

/** Section [pgbouncer] of PgBouncer 1.25 and of its unreleased version, without the names in settings.ts. */
export const notYetPgbouncer: ReadonlySet<string> = new Set(
  `admin_users application_name_add_host auth_dbname auth_hba_file auth_ident_file auth_ldap_options auth_query auth_user
  autodb_idle_timeout cancel_wait_timeout client_idle_timeout client_tls13_ciphers client_tls_ca_file client_tls_cert_file
  client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode
  conffile disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout job_name
  listen_backlog log_connections log_disconnections log_pooler_errors log_stats login_notify_message
  max_db_client_connections max_db_connections max_packet_size max_user_client_connections max_user_connections
  min_pool_size peer_id pkt_buf pool_idle_timeout query_timeout query_wait_notify reserve_pool_size reserve_pool_timeout
  resolv_conf sbuf_loopcnt server_check_delay server_check_query server_fast_close server_round_robin
  server_tls13_ciphers server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file
  server_tls_protocols server_tls_sslmode service_name so_reuseport stats_period stats_users suspend_timeout syslog
  syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer
  tcp_user_timeout track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group unix_socket_mode user`.split(
    /\s+/,
  ),
);

/** Keys of a line of section [databases]. */
export const notYetDatabase: ReadonlySet<string> = new Set(
  `application_name auth_dbname auth_query auth_user client_encoding datestyle load_balance_hosts max_db_client_connections
  max_db_connections min_pool_size query_wait_timeout reserve_pool reserve_pool_size server_lifetime timezone`.split(
    /\s+/,
  ),
);

/** Keys of a line of section [users]. */
export const notYetUser: ReadonlySet<string> = new Set(
  `client_idle_timeout idle_transaction_timeout max_user_client_connections max_user_connections pool_size query_timeout
  reserve_pool_size transaction_timeout`.split(/\s+/),
);

/** The known name that is nearest to what was written, if it is near enough to be meant. */
export function nearest(written: string, names: Iterable<string>): string | null {
  let best: string | null = null;
  let least = Math.max(2, Math.floor(written.length / 3)) + 1;
  for (const name of names) {
    const distance = editDistance(written.toLowerCase(), name);
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  return best;
}

/** Levenshtein's distance: insertions, deletions and replacements that turn one word into the other. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
