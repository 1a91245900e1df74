import { Card, EmptyState, PageHead } from '../ui/parts.tsx';

export function NoSuchPage() {
  return (
    <div className="page">
      <PageHead title="Not found" />
      <Card>
        <EmptyState icon="search" title="There is no such page">
          The address may be of an older version. Choose a page in the navigation.
        </EmptyState>
      </Card>
    </div>
  );
}
