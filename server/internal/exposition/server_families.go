package exposition

// serverFamilies are those that the servers of the control plane tell of themselves.
var serverFamilies = []*Family{
	{
		Name: "coder_pubsub_connected", Help: "1 while the control plane is connected for messages between its servers.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{Name: "coder_pubsub_current_events", Help: "Channels of messages that are listened to.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_pubsub_current_subscribers", Help: "Subscribers of messages.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coder_pubsub_disconnections_total", Help: "Times that the connection for messages was lost.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coder_pubsub_latency_measure_errs_total", Help: "Measurements of the latency of messages that failed.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coder_pubsub_latency_measures_total", Help: "Measurements of the latency of messages.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_pubsub_messages_total", Help: "Messages received.", Kind: CounterFamily, Labels: []string{"size"}},
	{Name: "coder_pubsub_published_bytes_total", Help: "Bytes of messages sent.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_pubsub_publishes_total", Help: "Messages sent.", Kind: CounterFamily, Labels: []string{"success"}},
	{Name: "coder_pubsub_receive_latency_seconds", Help: "Time to receive a message, in seconds.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_pubsub_received_bytes_total", Help: "Bytes of messages received.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_pubsub_send_latency_seconds", Help: "Time to send a message, in seconds.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_pubsub_subscribes_total", Help: "Subscriptions to messages.", Kind: CounterFamily, Labels: []string{"success"}},
	{
		Name: "coder_servertailnet_connections_total", Help: "TCP connections made to agents.",
		Kind: CounterFamily, Labels: []string{"network"},
	},
	{
		Name: "coder_servertailnet_open_connections", Help: "TCP connections to agents that are open.",
		Kind: GaugeFamily, Labels: []string{"network"},
	},
	{Name: "coder_derp_server_accepts_total", Help: "Connections that the relay accepted.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_average_queue_duration_ms", Help: "Average time in the queues of the relay, in milliseconds.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{Name: "coder_derp_server_bytes_received_total", Help: "Bytes that the relay received.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_derp_server_bytes_sent_total", Help: "Bytes that the relay sent.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_derp_server_clients", Help: "Clients of the relays.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_derp_server_clients_local", Help: "Clients of this relay.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_derp_server_clients_remote", Help: "Clients of other relays.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_derp_server_connections", Help: "Connections to the relay.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coder_derp_server_got_ping_total", Help: "Pings that the relay received.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_home_connections", Help: "Connections to the relay from clients at home there.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{Name: "coder_derp_server_home_moves_in_total", Help: "Clients that made the relay their home.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_home_moves_out_total", Help: "Clients that left the relay as their home.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coder_derp_server_packets_dropped_reason_total", Help: "Packets that the relay dropped, by reason.",
		Kind: CounterFamily, Labels: []string{"reason"},
	},
	{Name: "coder_derp_server_packets_dropped_total", Help: "Packets that the relay dropped.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_packets_dropped_type_total", Help: "Packets that the relay dropped, by type.",
		Kind: CounterFamily, Labels: []string{"type"},
	},
	{
		Name: "coder_derp_server_packets_forwarded_in_total", Help: "Packets that came from other relays.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coder_derp_server_packets_forwarded_out_total", Help: "Packets that went to other relays.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coder_derp_server_packets_received_kind_total", Help: "Packets that the relay received, by kind.",
		Kind: CounterFamily, Labels: []string{"kind"},
	},
	{Name: "coder_derp_server_packets_received_total", Help: "Packets that the relay received.", Kind: CounterFamily, Labels: noLabels},
	{Name: "coder_derp_server_packets_sent_total", Help: "Packets that the relay sent.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_peer_gone_disconnected_total", Help: "Clients that were told that a peer left.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coder_derp_server_peer_gone_not_here_total", Help: "Clients that were told that a peer is not at this relay.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coder_derp_server_sent_pong_total", Help: "Answers to pings that the relay sent.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coder_derp_server_unknown_frames_total", Help: "Frames of an unknown kind that the relay received.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coder_derp_server_watchers", Help: "Watchers of the relay.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coderd_agentapi_metadata_batch_size", Help: "Entries of metadata in a batch.", Kind: HistogramFamily, Labels: noLabels},
	{
		Name: "coderd_agentapi_metadata_batch_utilization", Help: "Keys of metadata of an agent in a batch.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_agentapi_metadata_batches_total", Help: "Batches of metadata that were written.",
		Kind: CounterFamily, Labels: []string{"reason"},
	},
	{
		Name: "coderd_agentapi_metadata_dropped_keys_total", Help: "Keys of metadata that were dropped for want of room.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coderd_agentapi_metadata_flush_duration_seconds", Help: "Time to write a batch of metadata, in seconds.",
		Kind: HistogramFamily, Labels: []string{"reason"},
	},
	{Name: "coderd_agentapi_metadata_flushed_total", Help: "Entries of metadata that were written.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coderd_agentapi_metadata_publish_errors_total", Help: "Messages about metadata that failed.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{
		Name: "coderd_agentstats_session_counts_overflow_total", Help: "Session apps of reports that were too many.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coderd_api_total_user_count", Help: "Users that are registered, by status.", Kind: GaugeFamily, Labels: []string{"status"}},
	{
		Name: "coderd_authz_authorize_duration_seconds", Help: "Time to decide about access, in seconds.",
		Kind: HistogramFamily, Labels: []string{"allowed"},
	},
	{
		Name: "coderd_authz_prepare_authorize_duration_seconds", Help: "Time to prepare decisions about access, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_build_info", Help: "1, with the version of the control plane.",
		Kind: GaugeFamily, Labels: []string{"version", "revision"},
	},
	{Name: "coderd_chatd_active_sessions", Help: "Chats, by status.", Kind: GaugeFamily, Labels: []string{"status"}},
	{
		Name: "coderd_chatd_compaction_total", Help: "Compactions of chats, by result.",
		Kind: CounterFamily, Labels: []string{"provider", "result"},
	},
	{Name: "coderd_chatd_message_count", Help: "Messages in a prompt.", Kind: HistogramFamily, Labels: []string{"provider"}},
	{Name: "coderd_chatd_prompt_size_bytes", Help: "Size of a prompt, in bytes.", Kind: HistogramFamily, Labels: []string{"provider"}},
	{
		Name: "coderd_chatd_serialization_duration_seconds",
		Help: "Time from a call of a model to the first part of its answer, in seconds.",
		Kind: HistogramFamily, Labels: []string{"provider"},
	},
	{Name: "coderd_chatd_steps_total", Help: "Steps of chats.", Kind: CounterFamily, Labels: []string{"provider"}},
	{
		Name: "coderd_chatd_tool_result_size_bytes", Help: "Size of the result of a tool, in bytes.",
		Kind: HistogramFamily, Labels: []string{"provider", "tool_name"},
	},
	{
		Name: "coderd_db_query_counts_total", Help: "Queries of the database, by route of the API.",
		Kind: CounterFamily, Labels: []string{"route", "method", "query"},
	},
	{
		Name: "coderd_db_query_latencies_seconds", Help: "Latency of queries of the database, in seconds.",
		Kind: HistogramFamily, Labels: []string{"query"},
	},
	{
		Name: "coderd_db_tx_duration_seconds", Help: "Duration of transactions of the database, in seconds.",
		Kind: HistogramFamily, Labels: []string{"success", "tx_id"},
	},
	{
		Name: "coderd_db_tx_executions_count", Help: "Transactions of the database.",
		Kind: CounterFamily, Labels: []string{"success", "retries", "tx_id"},
	},
	{
		Name: "coderd_dbpurge_iteration_duration_seconds", Help: "Duration of a pass that removes old rows, in seconds.",
		Kind: HistogramFamily, Labels: []string{"success"},
	},
	{
		Name: "coderd_dbpurge_records_purged_total", Help: "Old rows that were removed.",
		Kind: CounterFamily, Labels: []string{"record_type"},
	},
	{
		Name: "coderd_experiments", Help: "1 for an experiment that is on, 0 for one that is off.",
		Kind: GaugeFamily, Labels: []string{"experiment"},
	},
	{
		Name: "coderd_lifecycle_autobuild_execution_duration_seconds",
		Help: "Duration of a pass that starts and stops workspaces, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_notifications_dispatcher_send_seconds", Help: "Time to send a notification, in seconds.",
		Kind: HistogramFamily, Labels: []string{"method"},
	},
	{
		Name: "coderd_notifications_inflight_dispatches", Help: "Notifications that are being sent.",
		Kind: GaugeFamily, Labels: []string{"method", "notification_template_id"},
	},
	{
		Name: "coderd_notifications_pending_updates", Help: "Results of notifications that are not written yet.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coderd_notifications_queued_seconds", Help: "Time of a notification in its queue, in seconds.",
		Kind: HistogramFamily, Labels: []string{"method"},
	},
	{
		Name: "coderd_notifications_retry_count", Help: "Notifications that were sent again.",
		Kind: CounterFamily, Labels: []string{"method", "notification_template_id"},
	},
	{
		Name: "coderd_notifications_dispatch_attempts_total", Help: "Tries to send a notification.",
		Kind: CounterFamily, Labels: []string{"method", "notification_template_id", "result"},
	},
	{
		Name: "coderd_notifications_synced_updates_total", Help: "Results of notifications that were written.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coderd_open_file_refs_current", Help: "References to files in the cache.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coderd_open_file_refs_total", Help: "References to files that there ever were in the cache.",
		Kind: CounterFamily, Labels: []string{"hit"},
	},
	{Name: "coderd_open_files_current", Help: "Files in the cache.", Kind: GaugeFamily, Labels: noLabels},
	{Name: "coderd_open_files_size_bytes_current", Help: "Size of the files in the cache, in bytes.", Kind: GaugeFamily, Labels: noLabels},
	{
		Name: "coderd_open_files_size_bytes_total", Help: "Size of the files that there ever were in the cache, in bytes.",
		Kind: CounterFamily, Labels: noLabels,
	},
	{Name: "coderd_open_files_total", Help: "Files that there ever were in the cache.", Kind: CounterFamily, Labels: noLabels},
	{
		Name: "coderd_prebuilds_reconciliation_duration_seconds", Help: "Duration of a pass over prebuilt workspaces, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_metrics_last_updated",
		Help: "When the families of prebuilt workspaces were brought up to date, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_preset_validation_failed", Help: "1 if a preset is not valid.",
		Kind: GaugeFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_reconciliation_paused", Help: "1 while nothing is done about prebuilt workspaces.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prebuilt_workspaces_resource_replacements_total",
		Help: "Prebuilt workspaces of which a resource was replaced when they were claimed.",
		Kind: CounterFamily, Labels: presetLabels,
	},
	{
		Name: "coderd_prometheusmetrics_agentstats_execution_seconds", Help: "Time to collect the stats of agents for metrics, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prometheusmetrics_metrics_aggregator_execution_cleanup_seconds",
		Help: "Time to forget what agents forwarded, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prometheusmetrics_metrics_aggregator_execution_update_seconds",
		Help: "Time to take what agents forwarded, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_prometheusmetrics_metrics_aggregator_store_size", Help: "Series that agents forwarded.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coderd_provisioner_job_queue_wait_seconds",
		Help: "Time of a job from its creation until a provisioner daemon took it, in seconds.",
		Kind: HistogramFamily, Labels: []string{"provisioner_type", "job_type", "transition", "build_reason"},
	},
	{
		Name: "coderd_provisionerd_workspace_build_timings_seconds", Help: "Time to build a workspace, in seconds.",
		Kind: HistogramFamily, Labels: []string{"template_name", "template_version", "workspace_transition", "status"},
	},
	{
		Name: "coderd_proxyhealth_health_check_duration_seconds", Help: "Time to check the health of workspace proxies, in seconds.",
		Kind: HistogramFamily, Labels: noLabels,
	},
	{
		Name: "coderd_proxyhealth_health_check_results", Help: "Health of a workspace proxy, from -3 (unknown) to 1 (healthy).",
		Kind: GaugeFamily, Labels: []string{"proxy_id"},
	},
	{
		Name: "coderd_workspace_builds_enqueued_total", Help: "Builds of workspaces that were asked for.",
		Kind: CounterFamily, Labels: []string{"provisioner_type", "build_reason", "transition", "status"},
	},
}
