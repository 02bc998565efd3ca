// Says what Renovate's own code makes of updates: their kind, and whether renovate.json lets them be proposed.
// Usage: node renovate_rules.mjs FOLDER_OF_RENOVATE RENOVATE_JSON < updates, a line of JSON each:
//   {"packageName", "packageFile", "versioning", "current", "wanted"}, and "updateType" where the versions do not say it
import { readFileSync } from 'node:fs';

const [renovate, file] = process.argv.slice(2);
const { applyPackageRules } = await import(`${renovate}/dist/util/package-rules/index.js`);
const { get } = await import(`${renovate}/dist/modules/versioning/index.js`);
const { classifyRelease } = await import(`${renovate}/dist/workers/repository/process/lookup/update-type.js`);
const { packageRules } = JSON.parse(readFileSync(file, 'utf8'));

for (const line of readFileSync(0, 'utf8').trim().split('\n')) {
  const { current, wanted, versioning, ...update } = JSON.parse(line);
  const updateType = update.updateType ?? classifyRelease(get(versioning), current, wanted);
  const { enabled = true, groupName = null } = await applyPackageRules({ ...update, depName: update.packageName, updateType, packageRules });
  console.log(JSON.stringify({ updateType, enabled, groupName }));
}
