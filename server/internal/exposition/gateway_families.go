package exposition

// gatewayFamilies are those of the AI gateway and its proxy, under their names of today and of before.
var gatewayFamilies = []*Family{
	{
		Name: "coder_ai_gateway_interceptions_total", Help: "Requests that the AI gateway intercepted.",
		Kind: CounterFamily, Labels: []string{"client", "method", "model", "provider", "route", "status"},
	},
	{
		Name: "coder_ai_gateway_interceptions_inflight", Help: "Intercepted requests that the AI gateway is processing now.",
		Kind: GaugeFamily, Labels: []string{"model", "provider", "route"},
	},
	{
		Name: "coder_ai_gateway_interceptions_duration_seconds",
		Help: "Duration of intercepted requests, the work of the provider included, in seconds.",
		Kind: HistogramFamily, Labels: []string{"model", "provider"},
	},
	{
		Name: "coder_ai_gateway_passthrough_total", Help: "Requests that went on to their provider without being intercepted.",
		Kind: CounterFamily, Labels: []string{"method", "provider", "route"},
	},
	{
		Name: "coder_ai_gateway_prompts_total", Help: "Prompts in intercepted requests.",
		Kind: CounterFamily, Labels: []string{"client", "model", "provider"},
	},
	{
		Name: "coder_ai_gateway_tokens_total", Help: "Tokens of intercepted requests.",
		Kind: CounterFamily, Labels: []string{"client", "model", "provider", "type"},
	},
	{
		Name: "coder_ai_gateway_injected_tool_invocations_total", Help: "Invocations of tools that the AI gateway injected.",
		Kind: CounterFamily, Labels: []string{"model", "name", "provider", "server"},
	},
	{
		Name: "coder_ai_gateway_non_injected_tool_selections_total", Help: "Tools that a model chose for the client to invoke.",
		Kind: CounterFamily, Labels: []string{"model", "name", "provider"},
	},
	{
		Name: "coder_ai_gateway_circuit_breaker_state", Help: "State of a circuit breaker: 0 closed, 0.5 half open, 1 open.",
		Kind: GaugeFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_ai_gateway_circuit_breaker_trips_total", Help: "Times that a circuit breaker opened.",
		Kind: CounterFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_ai_gateway_circuit_breaker_rejects_total", Help: "Requests rejected because a circuit breaker was open.",
		Kind: CounterFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_ai_gateway_key_pool_state", Help: "Keys of a provider in a state.",
		Kind: GaugeFamily, Labels: []string{"provider", "state"},
	},
	{
		Name: "coder_ai_gateway_key_pool_state_transitions_total", Help: "Changes of the state of keys of a provider.",
		Kind: CounterFamily, Labels: []string{"provider", "reason"},
	},
	{
		Name: "coder_ai_gateway_key_pool_exhaustions_total", Help: "Times that a provider had no key to use.",
		Kind: CounterFamily, Labels: []string{"outcome", "provider"},
	},
	{
		Name: "coder_ai_gateway_key_pool_failover_attempts", Help: "Keys that were tried until a request succeeded or none was left.",
		Kind: HistogramFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_ai_gateway_provider_info", Help: "1 for each provider that is configured, with its status.",
		Kind: GaugeFamily, Labels: []string{"provider_name", "provider_type", "status"},
	},
	{
		Name: "coder_ai_gateway_providers_last_reload_timestamp_seconds", Help: "When providers were last read again, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_ai_gateway_providers_last_reload_success_timestamp_seconds",
		Help: "When providers were last read again with success, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_ai_gateway_cost_control_blocked_requests_total", Help: "Requests blocked because a budget was spent.",
		Kind: CounterFamily, Labels: []string{"group_id"},
	},
	{
		Name: "coder_ai_gateway_cost_control_blocked_users", Help: "Users whose budget is spent.",
		Kind: GaugeFamily, Labels: []string{"group_id"},
	},
	{
		Name: "coder_ai_gateway_cost_control_enforcement_duration_seconds", Help: "Duration of checks of budgets, in seconds.",
		Kind: HistogramFamily, Labels: []string{"outcome"},
	},
	{
		Name: "coder_ai_gateway_cost_control_unpriced_token_usage_records_total", Help: "Records of tokens of models without a price.",
		Kind: CounterFamily, Labels: []string{"model", "provider", "provider_type"},
	},
	{
		Name: "coder_ai_gateway_proxy_connect_sessions_total", Help: "CONNECT sessions of the AI gateway proxy.",
		Kind: CounterFamily, Labels: []string{"type"},
	},
	{
		Name: "coder_ai_gateway_proxy_mitm_requests_total", Help: "Requests that the AI gateway proxy looked into.",
		Kind: CounterFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_ai_gateway_proxy_inflight_mitm_requests", Help: "Requests that the AI gateway proxy looks into now.",
		Kind: GaugeFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_ai_gateway_proxy_mitm_responses_total", Help: "Answers to requests that the AI gateway proxy looked into.",
		Kind: CounterFamily, Labels: []string{"code", "provider"},
	},
	{
		Name: "coder_ai_gateway_proxy_provider_info", Help: "1 for each provider that the AI gateway proxy knows, with its status.",
		Kind: GaugeFamily, Labels: []string{"provider_name", "provider_type", "status"},
	},
	{
		Name: "coder_ai_gateway_proxy_providers_last_reload_timestamp_seconds",
		Help: "When the AI gateway proxy last read providers again, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_ai_gateway_proxy_providers_last_reload_success_timestamp_seconds",
		Help: "When the AI gateway proxy last read providers again with success, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_aibridged_interceptions_total", Help: "Requests that the AI gateway intercepted.",
		Kind: CounterFamily, Labels: []string{"client", "method", "model", "provider", "route", "status"},
	},
	{
		Name: "coder_aibridged_interceptions_inflight", Help: "Intercepted requests that the AI gateway is processing now.",
		Kind: GaugeFamily, Labels: []string{"model", "provider", "route"},
	},
	{
		Name: "coder_aibridged_interceptions_duration_seconds",
		Help: "Duration of intercepted requests, the work of the provider included, in seconds.",
		Kind: HistogramFamily, Labels: []string{"model", "provider"},
	},
	{
		Name: "coder_aibridged_passthrough_total", Help: "Requests that went on to their provider without being intercepted.",
		Kind: CounterFamily, Labels: []string{"method", "provider", "route"},
	},
	{
		Name: "coder_aibridged_prompts_total", Help: "Prompts in intercepted requests.",
		Kind: CounterFamily, Labels: []string{"client", "model", "provider"},
	},
	{
		Name: "coder_aibridged_tokens_total", Help: "Tokens of intercepted requests.",
		Kind: CounterFamily, Labels: []string{"client", "model", "provider", "type"},
	},
	{
		Name: "coder_aibridged_injected_tool_invocations_total", Help: "Invocations of tools that the AI gateway injected.",
		Kind: CounterFamily, Labels: []string{"model", "name", "provider", "server"},
	},
	{
		Name: "coder_aibridged_non_injected_tool_selections_total", Help: "Tools that a model chose for the client to invoke.",
		Kind: CounterFamily, Labels: []string{"model", "name", "provider"},
	},
	{
		Name: "coder_aibridged_circuit_breaker_state", Help: "State of a circuit breaker: 0 closed, 0.5 half open, 1 open.",
		Kind: GaugeFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_aibridged_circuit_breaker_trips_total", Help: "Times that a circuit breaker opened.",
		Kind: CounterFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_aibridged_circuit_breaker_rejects_total", Help: "Requests rejected because a circuit breaker was open.",
		Kind: CounterFamily, Labels: []string{"endpoint", "model", "provider"},
	},
	{
		Name: "coder_aibridged_key_pool_state", Help: "Keys of a provider in a state.",
		Kind: GaugeFamily, Labels: []string{"provider", "state"},
	},
	{
		Name: "coder_aibridged_key_pool_state_transitions_total", Help: "Changes of the state of keys of a provider.",
		Kind: CounterFamily, Labels: []string{"provider", "reason"},
	},
	{
		Name: "coder_aibridged_key_pool_exhaustions_total", Help: "Times that a provider had no key to use.",
		Kind: CounterFamily, Labels: []string{"outcome", "provider"},
	},
	{
		Name: "coder_aibridged_key_pool_failover_attempts", Help: "Keys that were tried until a request succeeded or none was left.",
		Kind: HistogramFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_aibridged_provider_info", Help: "1 for each provider that is configured, with its status.",
		Kind: GaugeFamily, Labels: []string{"provider_name", "provider_type", "status"},
	},
	{
		Name: "coder_aibridged_providers_last_reload_timestamp_seconds", Help: "When providers were last read again, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_aibridged_providers_last_reload_success_timestamp_seconds",
		Help: "When providers were last read again with success, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_aibridgeproxyd_connect_sessions_total", Help: "CONNECT sessions of the AI gateway proxy.",
		Kind: CounterFamily, Labels: []string{"type"},
	},
	{
		Name: "coder_aibridgeproxyd_mitm_requests_total", Help: "Requests that the AI gateway proxy looked into.",
		Kind: CounterFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_aibridgeproxyd_inflight_mitm_requests", Help: "Requests that the AI gateway proxy looks into now.",
		Kind: GaugeFamily, Labels: []string{"provider"},
	},
	{
		Name: "coder_aibridgeproxyd_mitm_responses_total", Help: "Answers to requests that the AI gateway proxy looked into.",
		Kind: CounterFamily, Labels: []string{"code", "provider"},
	},
	{
		Name: "coder_aibridgeproxyd_provider_info", Help: "1 for each provider that the AI gateway proxy knows, with its status.",
		Kind: GaugeFamily, Labels: []string{"provider_name", "provider_type", "status"},
	},
	{
		Name: "coder_aibridgeproxyd_providers_last_reload_timestamp_seconds",
		Help: "When the AI gateway proxy last read providers again, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
	{
		Name: "coder_aibridgeproxyd_providers_last_reload_success_timestamp_seconds",
		Help: "When the AI gateway proxy last read providers again with success, as Unix time.",
		Kind: GaugeFamily, Labels: noLabels,
	},
}
