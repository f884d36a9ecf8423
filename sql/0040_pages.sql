-- What the pages need: a person's choice of picture. The models' requests of the last hour and day are read by slot, for
-- which retention (0031) has the index.
alter table users add column avatar text;
alter table users add constraint users_avatar check (avatar in ('gravatar', 'initials'));
comment on column users.avatar is 'Which picture the person wants; null: as the site has it. The site''s `initials` wins.';
