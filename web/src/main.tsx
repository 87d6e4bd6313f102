import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import './style/tokens.css';
import './style/page.css';
import './style/figures.css';
import './style/playground.css';
import { Web } from './web.tsx';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element #root');
createRoot(root).render(
  <StrictMode>
    <Web />
  </StrictMode>,
);
