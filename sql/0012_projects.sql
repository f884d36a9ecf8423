-- Projects: accounts that several people manage together.

create table projects (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    name text not null,
    owner_id bigint references users (id),
    active boolean not null default true,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    constraint projects_account_unique unique (account_id),
    constraint projects_name_unique unique (name),
    constraint projects_name_length check (length(name) between 1 and 64)
);
comment on table projects is 'Shared accounts; lumen.yaml states limits and access by their names.';
comment on column projects.owner_id is 'Also one of its managers; null: none yet, administrators see to it.';
comment on column projects.active is 'Goes with accounts.state: an inactive project''s keys are refused.';
comment on column projects.version is 'Grows with every change of name, state, owner or managers.';

create table project_managers (
    project_id bigint not null references projects (id),
    user_id bigint not null references users (id),
    added_at timestamptz not null default now(),
    constraint project_managers_pkey primary key (project_id, user_id)
);
create index project_managers_user on project_managers (user_id);
comment on table project_managers is 'Who may use a project''s keys, consents and usage; the owner among them.';
