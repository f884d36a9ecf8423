# Makes the shipped nginx.conf one for a container: without root, logs to its output, addresses in gate.conf.
/^user /d
/^worker_rlimit_nofile /d
# Of the host's cores a container has those that it was given.
s/^worker_processes .*/worker_processes 2;/
s/^error_log .*/error_log stderr warn;/
s/access_log [^ ]* lumen;/access_log \/dev\/stdout lumen;/
s/^ *lumen_redis .*/    include \/etc\/lumen\/gate.conf;/
s/lumen_secret_file .*/lumen_secret_file \/run\/secrets\/installation.secret;/
/^    upstream admind {/,/^    }/d
