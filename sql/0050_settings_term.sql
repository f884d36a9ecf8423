alter table leadership add column settings_term bigint not null default 0;
comment on column leadership.settings_term is
    'The newest term whose leader has brought its lumen.yaml into the book; behind term: that is still to come.';
