-- The tables of NCSA Lumen's database that an import reads, as its current version has them; written for the tests.
create table entities (
    id serial primary key, entity_type varchar(8) not null, email varchar(256) unique, name varchar(256) not null,
    initials varchar(4) not null default '', gravatar_hash varchar(64), active boolean not null default true,
    created_at timestamp, model_access_default varchar(16));
create table model_configs (
    id serial primary key, model_name varchar(128) not null unique, input_cost_per_million numeric(12, 6) not null,
    output_cost_per_million numeric(12, 6) not null, audio_cost_per_hour numeric(12, 6), access varchar(8),
    needs_ack boolean not null default false, ack_message text, disabled boolean not null default false,
    description text, url varchar(512), supports_function_calling boolean, input_modalities json,
    output_modalities json, context_window integer, max_output_tokens integer, supports_reasoning boolean,
    knowledge_cutoff varchar(7), notice text, created_at timestamp);
create table api_keys (
    id serial primary key, entity_id integer not null references entities (id) on delete cascade,
    name varchar(128) not null default '', key_hash varchar(64) not null unique, key_hint varchar(32),
    active boolean not null default true, requests integer not null default 0, input_tokens bigint not null default 0,
    output_tokens bigint not null default 0, audio_seconds bigint not null default 0,
    cost numeric(12, 6) not null default 0, last_used_at timestamp, created_at timestamp);
create table entity_limits (
    id serial primary key, entity_id integer not null unique references entities (id) on delete cascade,
    max_coins numeric(12, 6) not null default 0, refresh_coins numeric(12, 6) not null default 0,
    starting_coins numeric(12, 6) not null default 0, config_managed boolean not null default false);
create table entity_balances (
    id serial primary key, entity_id integer not null unique references entities (id) on delete cascade,
    coins_left numeric(12, 6) not null default 0, last_refill_at timestamp not null default now());
create table entity_managers (
    id serial primary key, user_entity_id integer not null references entities (id) on delete cascade,
    project_entity_id integer not null references entities (id) on delete cascade,
    is_owner boolean not null default false, unique (user_entity_id, project_entity_id));
create table entity_model_access (
    id serial primary key, entity_id integer not null references entities (id) on delete cascade,
    model_config_id integer not null references model_configs (id) on delete cascade, access_type varchar(20) not null,
    unique (entity_id, model_config_id));
create table entity_model_consents (
    id serial primary key, entity_id integer not null references entities (id) on delete cascade,
    model_config_id integer not null references model_configs (id) on delete cascade,
    consented_at timestamp not null default now(), unique (entity_id, model_config_id));
create table entity_stats (
    entity_id integer primary key references entities (id) on delete cascade, requests integer not null default 0,
    input_tokens bigint not null default 0, output_tokens bigint not null default 0,
    audio_seconds bigint not null default 0, cost numeric(12, 6) not null default 0, last_used_at timestamp);
create table groups (
    id serial primary key, name varchar(128) not null unique, description text, active boolean not null default true,
    config_managed boolean not null default false, model_access_default varchar(20), created_at timestamp);
create table group_limits (
    id serial primary key, group_id integer not null unique references groups (id) on delete cascade,
    max_coins numeric(12, 6) not null default 0, refresh_coins numeric(12, 6) not null default 0,
    starting_coins numeric(12, 6) not null default 0);
create table group_members (
    id serial primary key, group_id integer not null references groups (id) on delete cascade,
    entity_id integer not null references entities (id) on delete cascade,
    config_managed boolean not null default false, unique (group_id, entity_id));
create table group_model_access (
    id serial primary key, group_id integer not null references groups (id) on delete cascade,
    model_config_id integer not null references model_configs (id) on delete cascade, access_type varchar(20) not null,
    unique (group_id, model_config_id));
create table model_stats (
    id serial primary key, entity_id integer not null references entities (id) on delete cascade,
    model_config_id integer not null references model_configs (id) on delete cascade, source varchar(8) not null,
    requests integer not null default 0, input_tokens bigint not null default 0, output_tokens bigint not null default 0,
    audio_seconds bigint not null default 0, cost numeric(12, 6) not null default 0, last_used_at timestamp,
    unique (entity_id, model_config_id, source));
create table conversations (
    id serial primary key, entity_id integer not null references entities (id) on delete cascade,
    title varchar(40) not null default '', model varchar(128) not null default '', created_at timestamp,
    updated_at timestamp);
create table request_logs (
    id bigserial primary key, time timestamptz not null, entity_id integer references entities (id) on delete set null,
    model_config_id integer references model_configs (id) on delete set null, model_endpoint_id integer,
    source varchar(8) not null, input_tokens integer not null default 0, output_tokens integer not null default 0,
    audio_seconds integer not null default 0, cost numeric(12, 6) not null default 0,
    duration double precision not null default 0);
