-- Which installation secret each hash was made under, so that an operator sees when the one before can be dropped.
alter table api_keys add column secret_id text;
alter table key_drafts add column secret_id text;
alter table operator_tokens add column secret_id text;
comment on column api_keys.secret_id is
    'Name of the installation secret that key_hash was made under (lumen_core/api_key.h); null: the first there was.';
