BEGIN TRANSACTION;
CREATE TABLE assignments (
	study_id VARCHAR NOT NULL, 
	rater_id VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	trial_id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	swapped BOOLEAN NOT NULL, 
	shown_utc VARCHAR, 
	answered BOOLEAN NOT NULL, 
	PRIMARY KEY (study_id, rater_id, position), 
	UNIQUE (study_id, rater_id, trial_id, kind)
);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',0,'t3','main',0,'2026-11-28T02:37:20.318+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',1,'catch/7','catch',0,'2026-11-28T02:37:20.356+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',2,'t1','main',1,'2026-11-28T02:37:20.390+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',3,'t2','main',1,'2026-11-28T02:37:20.422+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',4,'catch/15','catch',1,'2026-11-28T02:37:20.461+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',5,'t0','main',0,'2026-11-28T02:37:20.498+00:00',1);
INSERT INTO "assignments" VALUES('s','f0a4e90412a3352d',6,'t2','repeat',0,'2026-11-28T02:37:20.530+00:00',1);
CREATE TABLE identities (
	study_id VARCHAR NOT NULL, 
	rater_id VARCHAR NOT NULL, 
	platform VARCHAR NOT NULL, 
	platform_id VARCHAR NOT NULL, 
	session_id VARCHAR, 
	submit_to VARCHAR, 
	PRIMARY KEY (study_id, rater_id)
);
INSERT INTO "identities" VALUES('s','f0a4e90412a3352d','prolific','P1','','');
CREATE TABLE items (
	study_id VARCHAR NOT NULL, 
	item_id VARCHAR NOT NULL, 
	content VARCHAR NOT NULL, 
	source VARCHAR, 
	note TEXT, 
	sensitive INTEGER, 
	PRIMARY KEY (study_id, item_id)
);
INSERT INTO "items" VALUES('s','0','4a0945534329d26ce523a2f096e203aae59a9fffaec71895599fa3ef42d23f22.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','1','4968039700bbc4e78187c13ff17ae43cb944dd9bb4c7ea616e3cfa4227a8f92f.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','2','616b63ca78c34819663dccfa813fe55cb319ddfbd25e2ec703bcfa0b110dea04.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','3','91c5b9131ce168d63e0b84c611e92480c61c76aef259666a1cf264ef0aa51064.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','4','d4eae8f2462f491ba60be278e6ba139d37e68ea91e2f7955d4b9da877a0665fe.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','5','eb60966e247d9340a80fef31b0f4e3c70a9a3c72cdc3e7d227496734fd4d09ff.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','6','bb0a7593042b974c56bf45781f09de544276045185071f09b914877fa74f381d.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','7','87a6e81f8690ad179c189d5230ee3f7da1994025d80d9070987e159ea13d1eb5.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','8','7ef5187eae6f9a415e4963ae1af33bdfa5f076fe1dc6ce77ee416dc18f546282.png',NULL,NULL,NULL);
INSERT INTO "items" VALUES('s','9','d92c45679bd44ab5ed7cebcb90fd9fd25b1a6726c4dc2b96480786d05cc22905.png',NULL,NULL,NULL);
CREATE TABLE judgments (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study_id VARCHAR NOT NULL, 
	trial_id VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	question VARCHAR, 
	kind VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	anchor_id VARCHAR, 
	left_id VARCHAR NOT NULL, 
	right_id VARCHAR, 
	choice VARCHAR NOT NULL, 
	winner_id VARCHAR, 
	value FLOAT, 
	label VARCHAR, 
	probability FLOAT, 
	annotator_kind VARCHAR NOT NULL, 
	annotator_id VARCHAR NOT NULL, 
	annotator_version VARCHAR, 
	position INTEGER, 
	response_ms FLOAT, 
	transcript_ref VARCHAR, 
	shown_utc VARCHAR, 
	answered_utc VARCHAR NOT NULL, 
	UNIQUE (study_id, trial_id, kind, annotator_id)
);
INSERT INTO "judgments" VALUES(1,'s','practice/0','triplet','alike','practice','practice','1','1','4','left','1',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,-1,NULL,NULL,NULL,'2026-11-28T02:37:20.207+00:00');
INSERT INTO "judgments" VALUES(2,'s','practice/1','triplet','alike','practice','practice','6','1','6','left','1',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,-2,NULL,NULL,NULL,'2026-11-28T02:37:20.263+00:00');
INSERT INTO "judgments" VALUES(3,'s','t3','triplet','alike','main','random','3','4','6','left','4',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,0,NULL,NULL,'2026-11-28T02:37:20.318+00:00','2026-11-28T02:37:20.341+00:00');
INSERT INTO "judgments" VALUES(4,'s','catch/7','triplet','alike','catch','catch','8','8','2','left','8',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,1,NULL,NULL,'2026-11-28T02:37:20.356+00:00','2026-11-28T02:37:20.377+00:00');
INSERT INTO "judgments" VALUES(5,'s','t1','triplet','alike','main','random','1','4','2','left','4',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,2,NULL,NULL,'2026-11-28T02:37:20.390+00:00','2026-11-28T02:37:20.409+00:00');
INSERT INTO "judgments" VALUES(6,'s','t2','triplet','alike','main','random','2','5','3','left','5',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,3,NULL,NULL,'2026-11-28T02:37:20.422+00:00','2026-11-28T02:37:20.444+00:00');
INSERT INTO "judgments" VALUES(7,'s','catch/15','triplet','alike','catch','catch','6','8','6','left','8',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,4,NULL,NULL,'2026-11-28T02:37:20.461+00:00','2026-11-28T02:37:20.484+00:00');
INSERT INTO "judgments" VALUES(8,'s','t0','triplet','alike','main','random','0','1','3','left','1',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,5,NULL,NULL,'2026-11-28T02:37:20.498+00:00','2026-11-28T02:37:20.517+00:00');
INSERT INTO "judgments" VALUES(9,'s','t2','triplet','alike','repeat','random','2','3','5','left','3',NULL,NULL,NULL,'person','f0a4e90412a3352d',NULL,6,NULL,NULL,'2026-11-28T02:37:20.530+00:00','2026-11-28T02:37:20.549+00:00');
CREATE TABLE keys (
	study_id VARCHAR NOT NULL, 
	key_hash VARCHAR NOT NULL, 
	PRIMARY KEY (study_id)
);
CREATE TABLE owners (
	study_id VARCHAR NOT NULL, 
	token_hash VARCHAR NOT NULL, 
	PRIMARY KEY (study_id)
);
CREATE TABLE raters (
	study_id VARCHAR NOT NULL, 
	rater_id VARCHAR NOT NULL, 
	token_hash VARCHAR NOT NULL, 
	platform VARCHAR NOT NULL, 
	joined_utc VARCHAR NOT NULL, 
	consent_utc VARCHAR, 
	consent_sha256 VARCHAR, 
	stage VARCHAR NOT NULL, 
	filtered BOOLEAN NOT NULL, 
	active_until FLOAT NOT NULL, 
	finished_utc VARCHAR, 
	PRIMARY KEY (study_id, rater_id)
);
INSERT INTO "raters" VALUES('s','f0a4e90412a3352d','acb48ab50300f91f992dad497d804da567b0777a6255b9c3df350ba9d379e7f1','prolific','2026-11-28T02:37:20.079+00:00','2026-11-28T02:37:20.079+00:00','e8f516147183077626f87ddbb409d7bf9f0e51a1fc9c797eee35d674cdcb1c2b','done',0,1.79583524007929682731e+09,'2026-11-28T02:37:20.578+00:00');
CREATE TABLE removed (
	study_id VARCHAR NOT NULL, 
	name_hash VARCHAR NOT NULL, 
	PRIMARY KEY (study_id, name_hash)
);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE tombstones (
	number INTEGER NOT NULL, 
	study_id VARCHAR NOT NULL, 
	deleted_utc VARCHAR NOT NULL, 
	judgments INTEGER NOT NULL, 
	first_judgment BIGINT, 
	PRIMARY KEY (number)
);
CREATE TABLE trials (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	study_id VARCHAR NOT NULL, 
	trial_id VARCHAR NOT NULL, 
	question VARCHAR NOT NULL, 
	task VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	purpose VARCHAR NOT NULL, 
	anchor_id VARCHAR, 
	a_id VARCHAR NOT NULL, 
	b_id VARCHAR, 
	expected VARCHAR, 
	published_utc VARCHAR NOT NULL, 
	UNIQUE (study_id, trial_id)
);
INSERT INTO "trials" VALUES(1,'s','t0','alike','triplet','main','random','0','1','3',NULL,'2026-01-01T00:00:00.000+00:00');
INSERT INTO "trials" VALUES(2,'s','t1','alike','triplet','main','random','1','2','4',NULL,'2026-01-01T00:00:00.000+00:00');
INSERT INTO "trials" VALUES(3,'s','t2','alike','triplet','main','random','2','3','5',NULL,'2026-01-01T00:00:00.000+00:00');
INSERT INTO "trials" VALUES(4,'s','t3','alike','triplet','main','random','3','4','6',NULL,'2026-01-01T00:00:00.000+00:00');
INSERT INTO "trials" VALUES(5,'s','practice/0','alike','triplet','practice','practice','1','1','4','1','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(6,'s','practice/1','alike','triplet','practice','practice','6','6','1','6','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(7,'s','practice/2','alike','triplet','practice','practice','2','2','3','2','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(8,'s','practice/3','alike','triplet','practice','practice','1','1','2','1','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(9,'s','practice/4','alike','triplet','practice','practice','4','4','0','4','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(10,'s','catch/0','alike','triplet','catch','catch','9','9','2','9','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(11,'s','catch/1','alike','triplet','catch','catch','1','1','7','1','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(12,'s','catch/2','alike','triplet','catch','catch','0','0','5','0','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(13,'s','catch/3','alike','triplet','catch','catch','0','0','3','0','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(14,'s','catch/4','alike','triplet','catch','catch','1','1','2','1','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(15,'s','catch/5','alike','triplet','catch','catch','6','6','9','6','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(16,'s','catch/6','alike','triplet','catch','catch','8','8','9','8','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(17,'s','catch/7','alike','triplet','catch','catch','8','8','2','8','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(18,'s','catch/8','alike','triplet','catch','catch','0','0','7','0','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(19,'s','catch/9','alike','triplet','catch','catch','8','8','2','8','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(20,'s','catch/10','alike','triplet','catch','catch','3','3','5','3','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(21,'s','catch/11','alike','triplet','catch','catch','8','8','3','8','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(22,'s','catch/12','alike','triplet','catch','catch','0','0','8','0','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(23,'s','catch/13','alike','triplet','catch','catch','7','7','9','7','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(24,'s','catch/14','alike','triplet','catch','catch','7','7','4','7','2026-11-28T02:37:19.901+00:00');
INSERT INTO "trials" VALUES(25,'s','catch/15','alike','triplet','catch','catch','6','6','8','6','2026-11-28T02:37:19.901+00:00');
CREATE INDEX ix_judgments_study_id ON judgments (study_id);
CREATE INDEX ix_raters_token_hash ON raters (token_hash);
CREATE INDEX assignments_by_trial ON assignments (study_id, trial_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('trials',25);
INSERT INTO "sqlite_sequence" VALUES('judgments',9);
COMMIT;
