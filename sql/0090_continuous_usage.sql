alter table endpoints add column continuous_usage boolean not null default false;
comment on column endpoints.continuous_usage is
    'Knows stream_options.continuous_usage_stats (vLLM, SGLang): asked for, a stream that breaks off is charged by count.';
