// The Dockerfiles, Compose files and Kubernetes manifests, as far as they can be proved without an engine: judged by
// hadolint, Compose's own reader and Kubernetes' schemas; held against each other and against the programs; and the images
// made by hand from a minimal Debian, their services run as the Compose files say, without a network.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir, checkout } from '../harness/machine.mjs';
import { pythonWith } from '../harness/python_packages.mjs';
import { settingsOf } from './image.mjs';

const containerDir = path.join(checkout, 'packaging/container');
const kubernetesDir = path.join(checkout, 'packaging/kubernetes');
const images = ['gate', 'admind'];
const manifestFiles = readdirSync(kubernetesDir).map((name) => path.join(kubernetesDir, name));
const environment = {
  ...process.env, LUMEN_BUILD_DIR: buildDir, LUMEN_URL: 'http://127.0.0.1:8080', LUMEN_MODEL_SERVER: 'http://127.0.0.1:9000',
  OAUTH2_CLIENT_ID: 'lumen', OAUTH2_METADATA_URL: 'https://id.example.edu/.well-known/openid-configuration', POSTGRES_PASSWORD: 'kept elsewhere',
};

let place;
let python;
let manifests;
let compose;

function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env: environment, maxBuffer: 64 << 20, ...options });
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${error ?? ''}${stdout}${stderr}`);
  return stdout;
}

const fromYaml = (text) => JSON.parse(run(path.join(python, 'python'), ['-c', 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)'], { input: text }));
const composeFiles = () => images.flatMap((image) => ['--file', path.join(containerDir, `${image}.compose.yaml`)]);

before(() => {
  assert.equal(process.getuid(), 0, 'containers are made by root only');
  place = mkdtempSync('/var/tmp/lumen-containers-');
  chmodSync(place, 0o755);  // servers with users of their own are in it
  python = pythonWith(path.join(checkout, 'tests/package/requirements.txt'), 'containers');
  manifests = manifestFiles.flatMap((file) => fromYaml(readFileSync(file, 'utf8')));
  [compose] = fromYaml(run('docker-compose', [...composeFiles(), 'config']));
  writeFileSync(path.join(place, 'compose.json'), JSON.stringify(compose));
});
after(() => rmSync(place, { recursive: true, force: true }));

const kind = (name) => manifests.filter((manifest) => manifest.kind === name);
const workloads = () => manifests.filter(({ kind: name }) => name === 'StatefulSet' || name === 'Deployment');
const podOf = (workload) => workload.spec.template.spec;
const containersOf = (workload) => [...(podOf(workload).initContainers ?? []), ...podOf(workload).containers];
const ours = () => workloads().filter(({ metadata }) => images.includes(metadata.name));

for (const image of images) {
  test(`hadolint finds nothing in ${image}.Dockerfile`, () => {
    run(path.join(python, 'hadolint'), ['--failure-threshold', 'style', path.join(containerDir, `${image}.Dockerfile`)]);
  });
  test(`${image}.compose.yaml is whole by itself`, () => {
    run('docker-compose', ['--file', path.join(containerDir, `${image}.compose.yaml`), 'config', '--quiet']);
  });
}

for (const version of ['1.30', '1.37']) {
  test(`the manifests are valid for Kubernetes ${version}, strictly`, () => {
    const said = run(path.join(python, 'python'), ['-m', 'kubernetes_validate', '--strict', '--kubernetes-version', version, '--quiet', ...manifestFiles]);
    assert.doesNotMatch(said, /ERROR|WARN/);
  });
}

test('what Compose runs of ours has no rights, no root and no file system to write to', () => {
  for (const [name, service] of Object.entries(compose.services).filter(([, { image }]) => image.startsWith('lumen-'))) {
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ['ALL'], name);
    assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
    assert.doesNotMatch(settingsOf(path.join(containerDir, `${service.image.replace('lumen-', '')}.Dockerfile`)).user, /^0?(:|$)/, name);
  }
});

test('every container of the manifests is confined, bounded and probed', () => {
  for (const workload of workloads()) {
    const pod = podOf(workload);
    assert.equal(pod.securityContext.runAsNonRoot, true);
    assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault');
    assert.equal(pod.automountServiceAccountToken, false);
    for (const container of containersOf(workload)) {
      const { securityContext: confined, resources } = container;
      assert.equal(confined.readOnlyRootFilesystem, true, container.name);
      assert.equal(confined.allowPrivilegeEscalation, false, container.name);
      assert.deepEqual(confined.capabilities, { drop: ['ALL'] }, container.name);
      assert.ok(resources.requests.cpu && resources.requests.memory && resources.limits.memory, container.name);
    }
    for (const container of pod.containers)
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) assert.ok(container[probe], `${container.name}: ${probe}`);
  }
});

test('images, users, ports and volumes are those of the Dockerfiles', () => {
  const version = /^project\(lumen VERSION ([\d.]+)/m.exec(readFileSync(path.join(checkout, 'CMakeLists.txt'), 'utf8'))[1];
  for (const workload of ours()) {
    const { name } = workload.metadata;
    const settings = settingsOf(path.join(containerDir, `${name}.Dockerfile`));
    const { runAsUser, runAsGroup, fsGroup } = podOf(workload).securityContext;
    assert.equal(`${runAsUser}:${runAsGroup}`, settings.user);
    assert.equal(fsGroup, runAsGroup);
    for (const container of containersOf(workload)) {
      assert.equal(container.image, `lumen-${name}:${version}`);
      const mounted = container.volumeMounts.map(({ mountPath }) => mountPath);
      for (const volume of settings.volumes) assert.ok(mounted.includes(volume), `${container.name} has no ${volume}`);
    }
    const [{ ports, readinessProbe, livenessProbe }] = podOf(workload).containers;
    assert.deepEqual(ports.map(({ containerPort }) => containerPort), settings.ports);
    assert.equal(livenessProbe.httpGet.path, '/healthz');
    assert.equal(readinessProbe.httpGet.path, '/readyz');
  }
});

test('whatever is named is there: ports, volumes, claims, labels, services', () => {
  for (const workload of workloads()) {
    const pod = podOf(workload);
    const { matchLabels } = workload.spec.selector;
    assert.deepEqual(workload.spec.template.metadata.labels, matchLabels);
    assert.ok(kind('Service').some(({ metadata }) => metadata.name === workload.spec.serviceName), workload.spec.serviceName);
    const volumes = [...(pod.volumes ?? []), ...(workload.spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata)].map(({ name }) => name);
    for (const container of containersOf(workload)) for (const { name } of container.volumeMounts) assert.ok(volumes.includes(name), name);
    const ports = pod.containers.flatMap((container) => container.ports.map(({ name }) => name));
    for (const container of pod.containers)
      for (const { httpGet } of [container.startupProbe, container.livenessProbe, container.readinessProbe]) if (httpGet) assert.ok(ports.includes(httpGet.port));
    for (const service of kind('Service').filter(({ spec }) => spec.selector['app.kubernetes.io/component'] === matchLabels['app.kubernetes.io/component'])) {
      assert.deepEqual(service.spec.selector, matchLabels);
      for (const { targetPort } of service.spec.ports) assert.ok(ports.includes(targetPort), targetPort);
    }
  }
  for (const image of images) assert.ok(kind('PodDisruptionBudget').some(({ metadata }) => metadata.name === image), image);
  for (const { spec, metadata } of kind('NetworkPolicy').filter(({ metadata: { name } }) => name !== 'nobody-in')) {
    const component = spec.podSelector.matchLabels['app.kubernetes.io/component'];
    const workload = workloads().find(({ metadata: { name } }) => name === component);
    const open = podOf(workload).containers.flatMap(({ ports }) => ports.map(({ containerPort }) => containerPort));
    for (const { ports } of spec.ingress) for (const { port } of ports) assert.ok(open.includes(port), `${metadata.name}: ${port}`);
  }
});

test('the addresses in gate.conf and in environments are those of services', () => {
  const conf = readFileSync(path.join(containerDir, 'gate.conf'), 'utf8');
  const addresses = [...conf.matchAll(/(?:lumen_redis|^ +server) ([a-z]+):(\d+)/gm)].map(([, host, port]) => [host, Number(port)]);
  assert.deepEqual(addresses, [['redis', 6379], ['admind', 5001]]);
  for (const [host, port] of addresses) {
    assert.ok(compose.services[host], host);
    const service = kind('Service').find(({ metadata }) => metadata.name === host);
    assert.deepEqual(service.spec.ports.map((one) => one.port), [port]);
  }
  const admind = workloads().find(({ metadata }) => metadata.name === 'admind');
  const env = Object.fromEntries(podOf(admind).containers[0].env.map(({ name, value }) => [name, value]));
  assert.equal(env.LUMEN_REDIS_URL, compose.services.admind.environment.LUMEN_REDIS_URL);
});

test('admind is given every variable and file that lumen.yaml and the program ask for', () => {
  const asked = readFileSync(path.join(containerDir, 'lumen.yaml'), 'utf8');
  const variables = [...new Set([...asked.matchAll(/\$\{([A-Z0-9_]+)\}/g)].map(([, name]) => name))].sort();
  const files = [...asked.matchAll(/\$\{file:\/run\/secrets\/([a-z.]+)\}/g)].map(([, name]) => name).sort();
  const admind = podOf(workloads().find(({ metadata }) => metadata.name === 'admind'));
  assert.deepEqual(admind.containers[0].env.map(({ name }) => name).sort(), variables);
  assert.deepEqual(Object.keys(compose.services.admind.environment).sort(), variables);
  assert.deepEqual(admind.volumes.find(({ name }) => name === 'secrets').secret.items.map(({ path: name }) => name).sort(), files);
  assert.deepEqual(compose.services.admind.secrets.map(({ source }) => source).sort(), files);
  for (const container of [...admind.initContainers, ...admind.containers]) {
    const { stdout } = spawnSync(path.join(buildDir, 'admind/lumen-admind'), ['--help'], { encoding: 'utf8' });
    assert.match(stdout, new RegExp(`^ +${container.args[0]} `, 'm'));
  }
});

/// What the manifests take from ConfigMaps and the Secret, and what docs/install.md makes.
test('every ConfigMap and Secret that the manifests name is made by the commands of docs/install.md', () => {
  const text = readFileSync(path.join(checkout, 'docs/install.md'), 'utf8').replaceAll(/\\\n */g, '');
  const made = {};
  for (const [, name, options] of text.matchAll(/^kubectl .*create (?:configmap|secret generic) ([a-z-]+) (.*)$/gm))
    made[name] = [...options.matchAll(/--from-(?:file|literal)=([^= ]+)=/g)].map(([, key]) => key);
  const named = {};
  const name = (source, key) => { (named[source] ??= new Set()).add(key); };
  for (const workload of workloads()) {
    for (const { configMap, secret } of podOf(workload).volumes) {
      if (configMap) (named[configMap.name] ??= new Set());
      for (const { key } of secret?.items ?? []) name(secret.secretName, key);
    }
    for (const { env = [] } of containersOf(workload))
      for (const { secretKeyRef, configMapKeyRef } of env.map(({ valueFrom }) => valueFrom ?? {})) {
        const ref = secretKeyRef ?? configMapKeyRef;
        if (ref) name(ref.name, ref.key);
      }
  }
  assert.deepEqual(Object.keys(made).sort(), Object.keys(named).sort());
  for (const [source, keys] of Object.entries(named)) for (const key of keys) assert.ok(made[source].includes(key), `${source} has no ${key}`);
  const files = [...text.matchAll(/--from-file=[^= ]+=(packaging\/\S+)/g)].map(([, file]) => file).filter((file) => !file.includes('/secrets/'));
  for (const file of files) assert.ok(existsSync(path.join(checkout, file)), file);
});

test('the images hold no secret, need no network, and serve', () => {
  const packages = path.join(place, 'packages');
  mkdirSync(packages);
  run(path.join(checkout, 'packaging/build-packages.sh'), [packages]);
  const said = run('unshare', ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc',
    process.execPath, path.join(checkout, 'tests/package/in_containers.mjs'), 'make', place, packages, buildDir]);
  for (const step of ['made', 'migrated', 'healthy', 'served', 'stopped']) assert.match(said, new RegExp(`^${step}$`, 'm'));
});
