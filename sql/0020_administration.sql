-- What administrators state beside lumen.yaml, and what the audit log says of a change.

alter table audit_log
    add column before jsonb,
    add column after jsonb;
create index audit_log_target on audit_log (target, id);
comment on column audit_log.before is 'The thing as it was, without secrets; null: it was not there, or the change is no edit.';
comment on column audit_log.after is 'The thing as it is now, or what was asked for.';
comment on column audit_log.detail is 'Of rows before `after` was there.';

alter table groups
    add column managed_by text not null default 'config',
    add constraint groups_managed_by check (managed_by in ('config', 'admin'));
comment on column groups.managed_by is 'config: lumen.yaml states it, or did; admin: made over REST, and the file says nothing.';

alter table models
    add column managed_by text not null default 'config',
    add constraint models_managed_by check (managed_by in ('config', 'admin'));
comment on column models.managed_by is 'As in groups.';

create table config_generation (
    only_row boolean primary key default true,
    generation bigint not null default 0,
    file_hash text not null default '',
    applied_at timestamptz,
    constraint config_generation_only_row check (only_row)
);
comment on table config_generation is 'Which lumen.yaml is in the book: grows whenever the leader applies another one.';
comment on column config_generation.file_hash is 'SHA-256 of its text; a copy of admind with another file says so.';
insert into config_generation default values;

alter table endpoints
    add column drain boolean not null default false;
comment on column endpoints.drain is 'Takes no new requests because an administrator said so, whatever `state` the file gives it.';
